from . import data as data
from . import fitting as fitting
from . import metrics as metrics
from . import nets as nets
from . import objectives as objectives
from . import show as show
from . import sklearn as sklearn
from . import studies as studies
from .core.types import Interval as Interval
from .core.types import Prediction as Prediction
from .fitting import Ensemble as Ensemble
from .fitting import Recipe as Recipe
from .fitting import Run as Run
from .fitting import open_ensemble as open_ensemble
from .fitting import open_run as open_run
from .workflows import cross_validate as cross_validate
from .workflows import demo as demo
from .workflows import encode as encode
from .workflows import ensemble as ensemble
from .workflows import evaluate as evaluate
from .workflows import features as features
from .workflows import fit as fit
from .workflows import report as report
from .workflows import resume as resume
from .workflows import sample as sample
from .workflows import top_classes as top_classes

__version__: str
