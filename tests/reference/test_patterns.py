"""The reference of error patterns against answers written by hand; weir is compared with it in tests/e2e."""
import pytest
from patterns import fold, joined, trend, Pattern

HOUR = 3_600_000_000


@pytest.mark.parametrize("message,text", [
    ("litellm.Timeout: APITimeoutError - Error code: 408 - {'error': {'message': 'gone after 6m0s'}}", "gone after <n>"),
    ('{"error": "{\\"message\\": \\"say \\\\\\"x\\\\\\"\\"}"}', 'say "x"'),
    ("Error code: 500", "Error code: <n>"),
    ("gpt-4o at [::1]:80, 10.0.0.1:443 and a.b:1 for me@a.b", "<model> at <addr>, <addr> and <addr> for <email>"),
    ("2026-11-24T10:00:00Z req_0123 https://a.b/c. 1,234.5 30k worker-17 a1b2c3d4", "<time> <id> <url>. <n> <n> worker-<n> <id>"),
    ("key sk-abc123, Bearer abc123def.", "key sk-***, Bearer ***"),
    ("x" * 500, "x" * 400),
])
def test_folding(message, text):
    assert fold(message, ["gpt-4o"]) == text


def pattern(text, count, kind="t"):
    made = Pattern((kind, 429, False, text))
    made.count = count
    return made


def test_joining():
    near = [pattern("the engine Alpha has died", 1), pattern("the engine Beta has died", 3), pattern("the engine Beta has risen", 1),
            pattern("the engine Beta has died", 1, "u"), pattern("of Alpha", 1), pattern("of Beta", 1)]
    assert [(p.text, p.count) for p in joined(near)][0] == ("the engine <*> has died", 4)
    assert len(joined(near)) == 5


@pytest.mark.parametrize("hours,word", [
    ([20], "new"), ([1, 2], "few"), (range(12), "gone"), (range(24), "steady"), ([0] + [23] * 30, "growing"),
    ([0] * 30 + [23], "falling"), ([], "unknown")])
def test_trends(hours, word):
    assert trend([hour * HOUR for hour in hours], len(hours), (0, 24 * HOUR)) == word
