"""Adapters: one module a gateway, each a pure translation of that gateway's API into refold's words."""

from .bbmsl import Bbmsl
from .easylink import Easylink
from .evocloud import Evocloud
from .evonet import Evonet
from .signing import SigningKey

__all__ = ["Bbmsl", "Easylink", "Evocloud", "Evonet", "SigningKey"]
