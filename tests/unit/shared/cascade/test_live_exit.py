"""One stage's exit while it serves."""

from __future__ import annotations

import numpy as np

from tercet.cascade.document import AuditTerms, CascadeStage
from tercet.cascade.exit_rule import ExitRule
from tercet.cascade.live_exit import LiveExit
from tercet.identifiers import ModelRef
from tercet.tiers import Tier

SURE, UNSURE = np.array([[9.0, 0.0]]), np.array([[0.1, 0.0]])


def live_exit(share: float) -> LiveExit:
    stage = CascadeStage(
        tier=Tier.DEVICE, model=ModelRef("small@0123456789ab"), plan="all", exit=ExitRule(threshold=0.9)
    )
    return LiveExit("photos", 0, stage, "scores", AuditTerms(share=share), "device-1")


def test_only_audited_frames_teach_the_audit() -> None:
    exit_ = live_exit(share=0.0)
    for _ in range(50):
        unaudited = exit_.judge({"scores": UNSURE})
        exit_.learn(unaudited, label=1)
    assert exit_.status()["window_audited"] == 0
    exit_ = live_exit(share=1.0)
    exit_.learn(exit_.judge({"scores": SURE}), label=1)
    assert (exit_.status()["window_audited"], exit_.status()["window_wrong"]) == (1, 1)


def test_a_closed_exit_audits_frames_that_it_is_no_longer_sure_of() -> None:
    exit_ = live_exit(share=1.0)
    before = exit_.judge({"scores": SURE})
    assert (before.sure, before.exits, before.audited) == (True, False, True)
    for _ in range(20):
        exit_.learn(exit_.judge({"scores": SURE}), label=1)
    assert exit_.status()["threshold"] is None
    assert exit_.status()["audited_share"] == 1.0
    after = exit_.judge({"scores": SURE})
    assert (after.sure, after.exits, after.audited) == (False, False, True)
