"""All scenarios, in the order in which they are run. Each module holds one, or one family."""

from __future__ import annotations

import os

from chaos.broker import broker_name
from chaos.scenario import LiveScenario, LoneScenario
from chaos.scenarios.bandwidth_collapse import BandwidthCollapse
from chaos.scenarios.clock_jump import ClockJump
from chaos.scenarios.cold_start import ColdStart
from chaos.scenarios.disk_full import DiskFull
from chaos.scenarios.disorder import Disorder
from chaos.scenarios.half_open import HalfOpen
from chaos.scenarios.kill_broker import KillBroker
from chaos.scenarios.kill_cloud import KillCloud
from chaos.scenarios.kill_device import KillDevice
from chaos.scenarios.kill_edge import KillEdge
from chaos.scenarios.kill_pipeline_actor import KillPipelineActor
from chaos.scenarios.kill_pipeline_head import KillPipelineHead
from chaos.scenarios.kill_pipeline_worker import KillPipelineWorker
from chaos.scenarios.kill_ray_head import KillRayHead
from chaos.scenarios.kill_replica import KillReplica
from chaos.scenarios.offline_backlog import OfflineBacklog
from chaos.scenarios.one_way import OneWay
from chaos.scenarios.partition import Partition
from chaos.scenarios.poison import Poison
from chaos.scenarios.power_cut import PowerCut
from chaos.scenarios.rolling_upgrade import RollingUpgrade
from chaos.scenarios.slow_consumer import SlowConsumer
from chaos.scenarios.two_edges import TwoEdges

SCENARIOS: tuple[type[LiveScenario] | type[LoneScenario], ...] = (
    *(KillDevice, KillEdge, KillBroker, KillCloud, KillReplica, KillRayHead),
    *(Partition, OneWay, HalfOpen, BandwidthCollapse, Disorder),
    *(DiskFull, ClockJump, PowerCut, SlowConsumer, Poison),
    *(RollingUpgrade, TwoEdges, ColdStart, OfflineBacklog),
    *(KillPipelineWorker, KillPipelineActor, KillPipelineHead),
)


def describe_machine() -> str:
    """One sentence for whoever reads the figures."""
    return (
        f"{os.cpu_count()} processors; a broker apart is {broker_name()}; every process, its broker and its Ray is "
        "real, links are relays on the loopback."
    )
