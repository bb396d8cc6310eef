"""/v1/rules: standing questions."""

from __future__ import annotations

from fastapi import APIRouter

from api.routes.parts import Parts
from api.schemas import AlertOut, RuleIn, RuleOut, RulePatch, RuleTestIn

router = APIRouter(prefix="/v1/rules", tags=["rules"])


@router.post("", status_code=201)
def add_rule(request: RuleIn, parts: Parts) -> RuleOut:
    """Be told from now on. Words that cannot be looked for are listed in `unknown`."""
    return parts.rules.add(request)


@router.get("")
def list_rules(parts: Parts) -> list[RuleOut]:
    """Every rule."""
    return parts.rules.all()


@router.post("/test")
def test_rule(request: RuleTestIn, parts: Parts) -> list[AlertOut]:
    """The alerts a rule would have raised on past footage. Nothing is kept."""
    return parts.rules.test(request)


@router.get("/{rule}")
def get_rule(rule: str, parts: Parts) -> RuleOut:
    """One rule, by id or by name."""
    return parts.rules.get(rule)


@router.patch("/{rule}")
def change_rule(rule: str, request: RulePatch, parts: Parts) -> RuleOut:
    """Change what is given; watched anew from now on."""
    return parts.rules.change(rule, request)


@router.delete("/{rule}", status_code=204)
def remove_rule(rule: str, parts: Parts) -> None:
    """Stop watching; the alerts it raised stay."""
    parts.rules.remove(rule)
