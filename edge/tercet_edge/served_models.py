"""What an edge serves: models and cascades, replaced as a whole while frames go on.

A frame keeps the model that it found when it came, so one that is under way is not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tercet.cascade.document import read_cascade
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel, open_deployments
from tercet.errors import SpecError, TercetError
from tercet.identifiers import ModelRef
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.tiers import Tier
from tercet_edge.settings import EdgeSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """Made ready for frames.

    Attributes:
        deployed: what is to be served.
        models: those, and former ones, which are loaded when a frame for them still comes.
    """

    deployed: tuple[ModelRef, ...]
    models: Mapping[ModelRef, CutModel]
    cascades: tuple[OpenCascade, ...]


class ServedModels(Mapping[ModelRef, CutModel]):
    """The models that are served now. Look each frame's up: the next may find another."""

    def __init__(self, models: Mapping[ModelRef, CutModel]) -> None:
        self._models = models

    def replace(self, models: Mapping[ModelRef, CutModel]) -> None:
        self._models = models

    def __getitem__(self, ref: ModelRef) -> CutModel:
        return self._models[ref]

    def __iter__(self) -> Iterator[ModelRef]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def open_served(
    settings: EdgeSettings, deployments: Sequence[Deployment], former: Sequence[Deployment] = ()
) -> Served:
    """Deployments made ready, with what the edge's cascades need. Blocks while segments are loaded.

    Args:
        former: deployments from before, newest first, whose frames may still come.
    Raises:
        TercetError: what is wrong with deployments, cascades or store. Former ones are left out then.
    """
    store = Store(settings.store)
    models = open_deployments(
        deployments,
        store,
        threads=settings.threads,
        providers=settings.providers,
        slowdown=settings.emulated_slowdown,
    )
    for model in models.values():
        model.load_for(Tier.EDGE)
    deployed = tuple(models)
    cascades = tuple(
        OpenCascade.open(read_cascade(path), store, models, Tier.EDGE, settings.node) for path in settings.cascade
    )
    if len({cascade.ref for cascade in cascades}) != len(cascades):
        raise SpecError("the same cascade is named twice")
    for deployment in former:
        try:
            _serve_also(models, deployment, settings, store)
        except TercetError as error:
            log.info("former deployment forgotten", extra={"model": deployment.model, "reason": str(error)})
    return Served(deployed, models, cascades)


def _serve_also(models: dict[ModelRef, CutModel], former: Deployment, settings: EdgeSettings, store: Store) -> None:
    known = models.get(former.model)
    if known is None:
        opened = open_deployments(
            [former],
            store,
            threads=settings.threads,
            providers=settings.providers,
            slowdown=settings.emulated_slowdown,
        )
        models.update(opened)
    else:
        known.serve_also(former.plans, Tier.EDGE)
