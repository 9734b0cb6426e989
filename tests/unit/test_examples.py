"""Examples of a page are found whole, and what is not so any more is noticed."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from tests.support.examples import Example, Person, Reality, examples_on, people_on

A, B = "5b0f8a52-3c5e-4c5d-9a3e-0d1a0f6f7a11", "0c4f4a0e-7d19-4b43-8a77-2f0c2f5b9d02"
REAL_A, REAL_B = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa"
PAGE = f"""
$ cardroom token --user 29 --name Amy
$ cardroom token --user sue --name Sue --role staff

```http
POST /api/send/{A}
Authorization: Bearer <token of 29>

{{"text": "hi"}}
```

```http
HTTP/1.1 200 OK
Content-Type: application/json

{{"id": "{A}", "of": {{"id": "{B}", "at": 1795265531413, …}}, "list": [1], …}}
```
"""
SHOWN: dict[str, Any] = examples_on(PAGE)[0].answer
REAL: dict[str, Any] = {
    "id": REAL_A,
    "of": {"id": REAL_B, "at": 1795265531500, "more": None},
    "list": [1],
    "other": 3,
}


def reality() -> Reality:
    return Reality({"29": "secret"}, 1795265531413)


def test_page_says_what_is_sent_and_what_comes() -> None:
    headers = {"Authorization": "Bearer <token of 29>"}
    [example] = examples_on(PAGE)
    assert example == Example(
        "POST", f"/api/send/{A}", headers, {"text": "hi"}, 200, "application/json", SHOWN
    )
    assert people_on(PAGE) == {
        "29": Person("29", "Amy", "player"),
        "sue": Person("sue", "Sue", "staff"),
    }


def test_ids_and_times_stand_for_others_and_dots_for_the_rest() -> None:
    found = reality()
    found.compare(SHOWN, REAL)
    assert found.sent(f"/{A} {B} <token of 29>") == f"/{REAL_A} {REAL_B} secret"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("id",), REAL_B),
        (("id",), "no id"),
        (("id",), None),
        (("of",), None),
        (("of",), {"id": REAL_B}),
        (("of", "at"), 5),
        (("of", "at"), 1795265531412),
        (("list",), [True]),
        (("list",), [1, 2]),
        (("list",), [2]),
    ],
)
def test_what_is_otherwise_is_noticed(field: tuple[str, ...], value: object) -> None:
    other = deepcopy(REAL)
    at = other
    for name in field[:-1]:
        at = at[name]
    at[field[-1]] = value
    with pytest.raises(AssertionError):
        reality().compare(SHOWN, other)


def test_fields_that_are_not_shown_are_noticed_where_all_are() -> None:
    shown = json.loads(json.dumps(SHOWN)) | {"other": 3}
    del shown["…"]
    reality().compare(shown, REAL)
    with pytest.raises(AssertionError):
        reality().compare(shown, REAL | {"new": 1})


def test_an_id_of_the_page_is_one_id_and_times_keep_their_order() -> None:
    found = reality()
    found.compare(A, REAL_A)
    with pytest.raises(AssertionError):
        found.compare(A, REAL_B)
    found.compare(1795265531413, 1795265540000)
    with pytest.raises(AssertionError):
        found.compare(1795265531414, 1795265539999)


def test_a_request_without_its_answer_is_noticed() -> None:
    with pytest.raises(AssertionError):
        examples_on(PAGE[: PAGE.rindex("```http")])
