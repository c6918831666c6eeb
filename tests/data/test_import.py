import subprocess
import sys

import hubel.data


def test_importing_the_readers_imports_no_heavy_library():
    heavy = ("torch", "PIL", "sklearn", "pandas", "pyarrow", "astropy", "h5py", "tifffile")
    code = (
        f"import sys, hubel.data; hubel.data.load; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_arrays_needs_no_torch():
    code = (
        "import sys, numpy, hubel.data as d; "
        "data = d.from_arrays(numpy.zeros((20, 3, 3)), [0, 1] * 10); d.assign_parts(data, seed=0); d.read_like(numpy.zeros((3, 3)), data.reading); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_public_name_is_there_and_described():
    for name in hubel.data.__all__:
        assert getattr(hubel.data, name) is not None
        if callable(getattr(hubel.data, name)):
            assert getattr(hubel.data, name).__doc__
