"""The web page as tests use it: a browser, a server, a fresh tab, and what a person does in it."""

import pytest
from browser import Browser, BrowserPage
from page_server import PageServer


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def server():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page in a fresh tab. In the end no tab may have asked another server or had an error."""
    pages = []

    def open_page(**options):
        page = BrowserPage(browser, **options)
        pages.append(page)
        page.open(server.address)
        page.wait("document.activeElement.id === 'question'")
        return page

    yield open_page
    for page in pages:
        # A picture that is shown is part of the page.
        assert [url for url in page.requests if not url.startswith((server.address, "data:image/"))] == []
        assert page.problems == []


def ask(page, question, waits=True):
    asked = page.count(".user")
    page.click("#question")
    page.type(question)
    page.press("Enter")
    if waits:
        page.wait(f"document.querySelectorAll('.user').length === {asked + 1}"
                  " && document.querySelector('.message.assistant:last-child:not(.running)')")


def answers(page):
    return page.run("[...document.querySelectorAll('.assistant .content')].map(element => element.innerText.trim())")
