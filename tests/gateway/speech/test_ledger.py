"""gateway/speech/ledger.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.ledger import OPEN_PIECES, Account, Clause


def sent(account: Account, text: str, *sizes: int) -> Clause:
    clause = Clause(text)
    for size in sizes:
        account.send(clause, size)
    clause.complete = True
    return clause


def test_what_a_mark_stands_behind_was_heard() -> None:
    account = Account()
    first = sent(account, "uno dos", 800, 800)
    account.mark("a")
    second = sent(account, "tres", 800)
    assert not first.is_settled
    assert account.played("a")
    assert not account.played("a")
    assert first.is_settled
    assert first.heard_text() == "uno dos"
    assert not second.is_settled
    assert account.open_octets == 800


def test_an_interruption_leaves_the_words_that_were_heard() -> None:
    account = Account()
    clause = sent(account, "uno dos tres cuatro", 8000)
    account.cleared(500, 500)
    assert (clause.heard, clause.lost) == (4000, 4000)
    assert clause.is_settled
    assert clause.heard_text() == "uno dos"
    assert account.open_octets == 0


def test_reports_count_from_the_one_before() -> None:
    account = Account()
    first = sent(account, "uno", 8000)
    account.mark("a")
    account.played("a")  # 1000 ms, which the report below counts again
    second = sent(account, "dos tres", 8000)
    account.cleared(1500, 500)
    assert (first.heard, first.lost) == (8000, 0)
    assert (second.heard, second.lost) == (4000, 4000)
    third = sent(account, "cuatro", 800)
    account.cleared(100, 0)
    assert third.heard == 800


def test_a_clause_that_was_cut_off_before_its_first_sound() -> None:
    account = Account()
    clause = sent(account, "uno dos", 8000)
    account.cleared(0, 1000)
    assert clause.heard_text() == ""
    assert clause.is_settled


def test_what_is_still_to_be_sent_is_not_settled() -> None:
    account = Account()
    clause = Clause("uno dos")
    account.send(clause, 800)
    account.mark("a")
    account.played("a")
    assert not clause.is_settled


def test_without_reports_everything_counts_as_heard_in_the_end() -> None:
    account = Account()
    clause = sent(account, "uno", 800)
    account.close()
    assert clause.is_settled
    assert clause.heard_text() == "uno"


def test_the_account_is_bounded() -> None:
    account = Account()
    clauses = [sent(account, "x", 80) for _ in range(OPEN_PIECES + 10)]
    assert sum(clause.is_settled for clause in clauses) == 10


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3), st.integers(0, 400)), max_size=30))
def test_heard_and_lost_never_exceed_what_was_sent(steps: list[tuple[int, int, int]]) -> None:
    account, clauses = Account(), []
    for number, (size_ms, what, ms) in enumerate(steps):
        clauses.append(sent(account, "una frase de prueba", size_ms * 8))
        if what == 1:
            account.mark(str(number))
            account.played(str(number))
        elif what == 2:
            account.cleared(ms, size_ms)
    account.close()
    for clause in clauses:
        assert clause.heard + clause.lost == clause.sent
        assert clause.text.startswith(clause.heard_text())


def test_what_nobody_reports_is_lost_as_far_as_time_says() -> None:
    account = Account()
    clause = sent(account, "uno dos tres cuatro", 4000, 4000)
    account.mark("end")
    account.lose(2000)
    assert (clause.heard, clause.lost) == (6000, 2000)
    assert clause.heard_text() == "uno dos tres"
    assert not account.played("end")
    account.lose(99)
    assert account.open_octets == 0
