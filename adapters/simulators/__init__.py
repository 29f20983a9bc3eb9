"""Simulators of the four gateways: they speak the documented APIs, keep a ledger of the money, and fail on request."""

from .assembly import NAMES, Simulators, simulators
from .delivery import Notification
from .faults import FAULTS, Fault, FaultRow, Faults, fault_table
from .ledger import Ledger, Movement, SimulatedRefund
from .scripts import outcome_rows, outcome_table
from .serving import Running, serve, settings_toml
from .simulator import Simulator
from .staging import staged

__all__ = [
    "FAULTS",
    "NAMES",
    "Fault",
    "FaultRow",
    "Faults",
    "Ledger",
    "Movement",
    "Notification",
    "Running",
    "SimulatedRefund",
    "Simulator",
    "Simulators",
    "fault_table",
    "outcome_rows",
    "outcome_table",
    "serve",
    "settings_toml",
    "simulators",
    "staged",
]
