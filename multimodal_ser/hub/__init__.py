"""Functions for the Hugging Face Hub: push and pull of checkpoints, checks of repositories, and model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multimodal_ser._lazy import lazy_names

if TYPE_CHECKING:
    from multimodal_ser.hub.access import pinned, push_model, telling
    from multimodal_ser.hub.adapters import check_adapter
    from multimodal_ser.hub.card_facts import CardFacts
    from multimodal_ser.hub.card_reports import facts_from_calibration, facts_from_report
    from multimodal_ser.hub.model_card import save_model_card
    from multimodal_ser.hub.repository_checks import check_weights
    from multimodal_ser.hub.transfer import HubError, Pulled, check_names, is_wanted, pull, push

_HOMES = {
    "HubError": "transfer", "Pulled": "transfer", "check_names": "transfer", "is_wanted": "transfer",
    "pull": "transfer", "push": "transfer",
    "pinned": "access", "push_model": "access", "telling": "access",
    "check_adapter": "adapters", "check_weights": "repository_checks",
    "CardFacts": "card_facts", "facts_from_calibration": "card_reports", "facts_from_report": "card_reports",
    "save_model_card": "model_card",
}  # fmt: skip

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
