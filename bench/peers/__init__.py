"""One adapter a library: its fastest correct call for a point, and the names of what it returns.

A further library is one more file with a subclass of `Peer`, and its place in `PEERS`. A library is
imported when its adapter is made, because a worker's process holds one library only.
"""

from peers.base import Call, Peer, Stream
from peers.bptt import Bptt, Reference
from peers.jax import Jax
from peers.onnxruntime import OnnxRuntime
from peers.openvino import OpenVino
from peers.torch import Torch

__all__ = ["PEERS", "Call", "Peer", "Stream"]

PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Bptt, Torch, OnnxRuntime, OpenVino, Jax, Reference)
}
