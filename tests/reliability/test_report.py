from tests.reliability.report import PAGE, RESULTS, render


def test_the_page_matches_the_result_files():
    page = PAGE.read_text(encoding="utf-8")
    assert render(page, RESULTS) == page, "run python -m tests.reliability.report"
