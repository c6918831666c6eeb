"""prototype: Burgers by LM"""
import math, time, sys, torch, numpy as np
sys.path.insert(0,'/tmp/phys/src')
from hubel.physics.jets import Jet, tanh
from hubel.physics.network import SmallNetwork, Tape, rows
from hubel.physics.references import burgers
torch.set_default_dtype(torch.float64)
import argparse
a=argparse.ArgumentParser(); a.add_argument('--width',type=int,default=20); a.add_argument('--depth',type=int,default=3); a.add_argument('--points',type=int,default=3000); a.add_argument('--seconds',type=float,default=60); a.add_argument('--odd',type=int,default=1); a.add_argument('--seed',type=int,default=0); a.add_argument('--threads',type=int,default=2)
a.add_argument('--per',type=int,default=1); a.add_argument('--dt',type=int,default=1); a.add_argument('--diag',type=int,default=0); a=a.parse_args(); torch.set_num_threads(a.threads)
nu=0.01/math.pi
jet=Jet.of([(1,0),(0,2)])  # t,x
from hubel.physics.jets import sine,cosine
net=SmallNetwork(3 if a.per else 2,1,width=a.width,depth=a.depth,seed=a.seed)
P=sum(p.numel() for p in net.parameters())
for p in net.parameters(): p.requires_grad_(False)
eng=torch.quasirandom.SobolEngine(2,scramble=True,seed=a.seed)
def points(n):
    s=eng.draw(n).double(); return s[:,0], s[:,1] if a.odd else 2*s[:,1]-1
class Set: pass
def prepare(t,x):
    s=Set(); s.t,s.x=t,x
    T=jet.coordinate(2*t-1,0)*1.0; T[1:]*=2
    X=jet.coordinate(x,1)
    s.F=torch.stack([T,X],-1); s.Fm=torch.stack([T,-X],-1)
    if a.per:
        c,si=jet.apply(cosine,math.pi*X),jet.apply(sine,math.pi*X); s.F=torch.stack([T,c,si],-1); s.Fm=torch.stack([T,c,-si],-1)
    s.g=jet.of_function(lambda t,x:-torch.sin(math.pi*x)+0*t,[t,x])
    s.d=jet.of_function(lambda t,x:(t*(1-x*x) if a.dt==0 else t+0*x),[t,x])
    return s
def residual(s,sl=slice(None),want=True):
    tape=Tape() if want else None
    N=net.series(s.F[:,sl],jet,tape)[...,0]
    if a.odd:
        tm=Tape() if want else None
        # odd: N(t,x)-N(t,-x)
        Nm=net.series(s.Fm[:,sl],jet,tm)[...,0]; N=N-Nm
    u=s.g[:,sl]+jet.times(s.d[:,sl],N)
    pl=jet.places
    r=u[pl[1,0]]+u[0]*u[pl[0,1]]-nu*2*u[pl[0,2]]
    if not want: return r,None
    if a.odd:
        J=torch.cat([*[]]) if False else None
        # joint backward
        sl_=torch.autograd.grad(r.sum(),[z for _,_,z in tape.layers]+[z for _,_,z in tm.layers])
        L=len(tape.layers); out=[]
        for i in range(L):
            w=sl_[i].permute(1,2,0)@tape.layers[i][1].permute(1,0,2)+sl_[L+i].permute(1,2,0)@tm.layers[i][1].permute(1,0,2)
            out+= [w.flatten(1), sl_[i][0]+sl_[L+i][0]]
        return r.detach(),torch.cat(out,1)
    return r.detach(),rows(tape,r,last=True)
def flat(): return torch.cat([p.flatten() for p in net.parameters()])
def setflat(v):
    i=0
    for p in net.parameters():
        p.copy_(v[i:i+p.numel()].view_as(p)); i+=p.numel()
tg=np.linspace(0,0.99,100); xg=np.linspace(-1,1,256)
TT,XX=np.meshgrid(tg,xg,indexing='ij'); ref=burgers(TT,XX)
gt,gx=torch.tensor(TT.ravel()),torch.tensor(XX.ravel())
j0=Jet(((0,0),))
def error():
    F=torch.stack([2*gt-1,gx],-1) if not a.per else torch.stack([2*gt-1,torch.cos(math.pi*gx),torch.sin(math.pi*gx)],-1)
    N=net(F)[:,0]
    if a.odd: N=N-net(F*torch.tensor([1.,-1.]) if not a.per else F*torch.tensor([1.,1.,-1.]))[:,0]
    u=-torch.sin(math.pi*gx)+(gt if a.dt else gt*(1-gx*gx))*N
    return float((u-torch.tensor(ref.ravel())).norm()/np.linalg.norm(ref))

if 1:
    S=prepare(*points(50)); r,J=residual(S); v=flat(); g=torch.Generator().manual_seed(0); dv=torch.randn(P,generator=g)
    setflat(v+1e-6*dv); rp=residual(S)[0]; setflat(v-1e-6*dv); rm=residual(S)[0]; setflat(v)
    print('jac check', float(((rp-rm)/2e-6-J@dv).norm()/(J@dv).norm()))
start=time.time(); S=prepare(*points(a.points)); lam=1e-2; it=0; said=0
def loss(v=None):
    return float((residual(S,want=False)[0]**2).sum())
cur=None; tJ=tA=tC=tL=0
while time.time()-start<a.seconds:
    it+=1
    t0=time.time(); A=torch.zeros(P,P); b=torch.zeros(P); tot=0.
    for lo in range(0,a.points,1000):
        r,J=residual(S,slice(lo,lo+1000)); t1=time.time(); A.addmm_(J.t(),J); b.addmv_(J.t(),r); tot+=float((r*r).sum()); tA+=time.time()-t1
    tJ+=time.time()-t0
    D=A.diagonal().clamp_min(1e-12*A.diagonal().max()) ; x0=flat(); ok=False
    for trial in range(8):
        t0=time.time()
        L,info=torch.linalg.cholesky_ex(A+lam*torch.diag(D) if a.diag else A+lam*torch.eye(P))
        if info: lam*=4; continue
        step=torch.cholesky_solve(-b[:,None],L)[:,0]; tC+=time.time()-t0
        setflat(x0+step); t0=time.time(); new=loss(); tL+=time.time()-t0
        pred=-float(2*b@step+step@(A@step)); rho=(tot-new)/max(pred,1e-300)
        if new<tot:
            ok=True; lam*=max(1/5,1-(2*rho-1)**3) if rho>0 else 2; break
        lam*=3; setflat(x0)
    if not ok: lam=min(lam*10,1e3)
    lam=max(lam,1e-14)
    if it%25==0:
        S=prepare(*points(a.points)) # resample
    if time.time()-start>said:
        said+=5; print(f'{time.time()-start:6.1f}s it {it} loss {tot/a.points:.2e} lam {lam:.1e} err {error():.2e} J {tJ/it:.3f} (A {tA/it:.3f}) C {tC/it:.3f} L {tL/it:.3f}',flush=True)
print('P',P,'final',error())
