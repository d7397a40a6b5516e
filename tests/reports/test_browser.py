"""The report in a browser, as a person opens it."""

import pytest

from tests.reports.browser import CHROMIUM
from tests.reports.browser import Browser

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def camera(browser, name):
    scene = f"document.querySelector('#{name} .scene')"
    return browser.run(f"{scene}._fullLayout.scene._scene.getCamera().eye")


@pytest.mark.slow
def test_page_opens_turns_and_asks_for_nothing(browser, found, tmp_path):
    pytest.importorskip("plotly")
    from keras_pointpeft.reports import html

    path = tmp_path / "report.html"
    html.write(found, path)
    browser.open(path)
    for name in ("blocks", "nearest", "parts"):
        place = f"document.querySelector('#{name} .scene')"
        browser.wait(f"{place} && {place}.querySelector('canvas') != null")
        browser.wait(f"{place}._fullLayout.scene._scene != null")
        browser.run(f"{place}.scrollIntoView({{block: 'center'}})")
        before = camera(browser, name)
        box = browser.run(
            f"(b => [b.x, b.y, b.width, b.height])"
            f"({place}.getBoundingClientRect())"
        )
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        browser.drag((x, y), (x + 120, y + 30))
        after = camera(browser, name)
        assert abs(before["x"] - after["x"]) > 0.05, name

    # The slider shows another block, the choice another cloud.
    color = "document.querySelector('#blocks .scene').data[0].marker.color[0]"
    first = browser.run(color)
    browser.run(
        "(s => {s.value = 2; s.dispatchEvent(new Event('input'))})"
        "(document.querySelector('#blocks input'))"
    )
    second = browser.run(color)
    assert first == pytest.approx(float(found.clouds[0].scales[0][0]))
    assert second == pytest.approx(float(found.clouds[0].scales[2][0]))
    browser.run(
        "(s => {s.value = 1; s.dispatchEvent(new Event('change'))})"
        "(document.querySelector('#blocks select'))"
    )
    third = browser.run(color)
    assert third == pytest.approx(float(found.clouds[1].scales[2][0]))
    # No part of a label became a part of the page.
    assert browser.run("document.querySelectorAll('b').length") == 0

    assert browser.errors == []
    asked = [r for r in browser.requests if not r.startswith("data:")]
    assert asked == [path.resolve().as_uri()]


def test_pareto_opens_without_network(browser, tmp_path):
    pytest.importorskip("plotly")
    from keras_pointpeft.reports import pareto
    from tests.reports.test_pareto import ENTRIES

    path = tmp_path / "pareto.html"
    pareto.write_html(path, ENTRIES, "A title")
    browser.open(path)
    browser.wait("document.querySelector('.main-svg') != null")
    assert browser.errors == []
    asked = [r for r in browser.requests if not r.startswith("data:")]
    assert asked == [path.resolve().as_uri()]
