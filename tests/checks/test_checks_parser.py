"""The parser reads CEL, all of it; conditions of checks use a part."""

from __future__ import annotations

import pytest

from canary.checks.cel_parser import Call, CelSyntaxError, Comprehension, names_used, parse, walk


def test_it_reads_all_of_cel() -> None:
    """Precedence, macros, literals of every kind and comments."""
    tree = parse(
        """self.a.map(x, x > 1, x * 2).filter(y, y != 4).size() + 1 == 2 // why
      && (r'\\d' in ['x', "y", '''z''', b'q' == b'q' ? "s" : "t"] || {'k': 0x1F}.k > -1 && 1.5e3 > 2u && !false)"""
    )
    assert isinstance(tree, Call)
    assert tree.function == "_&&_"
    assert "self" in names_used(tree)
    macros = [part.macro for part in walk(tree) if isinstance(part, Comprehension)]
    assert sorted(macros) == ["filter", "map"]


@pytest.mark.parametrize("broken", ["self.", "a b", "(a", "a ? b", "has(a)", "#"])
def test_what_is_not_cel_is_refused_with_a_position(broken: str) -> None:
    """An offset into the text."""
    with pytest.raises(CelSyntaxError) as refused:
        parse(broken)
    assert 0 <= refused.value.position <= len(broken)
