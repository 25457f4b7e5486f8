"""A headless Chromium, driven over a pipe by its own protocol (DevTools), so that no driver or package is needed."""

import base64
import json
import os
import re
import select
import shutil
import subprocess
import time

from conftest import PATIENCE

KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "k": 75, "o": 79, "/": 191}


class Browser:
    """The program, with a profile of its own and no way to any host but this machine."""

    def __init__(self, profile):
        program = shutil.which("chromium")
        assert program, "Chromium is missing; `make interop` installs it."
        # It reads commands from descriptor 3 and answers on 4.
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        options = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{commands_out} 4>&{answers_in}', program, *options],
            pass_fds=(commands_out, answers_in), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(commands_out)
        os.close(answers_in)
        self._unread = b""
        self._number = 0
        self.pages = {}

    def call(self, method, session=None, **parameters):
        """The result of a command; events that come in the meantime go to their pages."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive(PATIENCE)
            assert answer is not None, f"Chromium does not answer {method}"
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def receive(self, seconds):
        """The next message, given to its page if it is an event; None when none comes in time."""
        end = time.monotonic() + seconds
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], max(0, end - time.monotonic()))[0]:
                return None
            piece = os.read(self._answers, 1 << 20)
            assert piece, "Chromium has ended"
            self._unread += piece
        text, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(text)
        if "method" in message and message.get("sessionId") in self.pages:
            self.pages[message["sessionId"]].note(message["method"], message["params"])
        return message

    def close(self):
        os.close(self._commands)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)


class BrowserPage:
    """One tab: what it asked for, what it complained about, and ways to use it as a person does."""

    def __init__(self, browser, languages="en", width=1200, height=800, dark=False):
        self.browser = browser
        self.requests = []
        #: Console errors and warnings, uncaught exceptions, and violations of the content security policy.
        self.problems = []
        self.dialogs = []
        #: Files that the page has the browser save: the name of each by the browser's number for it, and what is whole.
        self._downloads = {}
        self.saved = set()
        #: Requests answered with an error status, which the console also complains about.
        self.allowed_statuses = set()
        self.context = browser.call("Target.createBrowserContext")["browserContextId"]
        self.target = browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        agent = browser.call("Browser.getVersion")["userAgent"]
        self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=languages)
        self.appear(width, height, dark)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def note(self, method, parameters):
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.problems.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            text = parameters["entry"]["text"]
            if not any(f"status of {status}" in text for status in self.allowed_statuses):
                self.problems.append(text)
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(parameters["message"])
        elif method == "Page.downloadWillBegin":
            self._downloads[parameters["guid"]] = parameters["suggestedFilename"]
        elif method == "Page.downloadProgress" and parameters["state"] == "completed":
            self.saved.add(self._downloads[parameters["guid"]])

    def appear(self, width, height, dark=False, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def reload(self):
        self.run("window.isOld = true")
        self.call("Page.reload")
        self.wait("!window.isOld && document.readyState === 'complete'")

    def run(self, script):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, condition):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} does not become true; {self.problems}"
            self.browser.receive(0.02)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def click(self, selector):
        """Clicks where an element is, which must be visible and not covered."""
        query = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{query}.scrollIntoView({{block: 'nearest'}})")
        box = self.run(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({query}.getBoundingClientRect())")
        at = f"document.elementFromPoint({box[0]}, {box[1]})"
        assert self.run(f"{query} === {at} || {query}.contains({at})"), f"{selector} is covered: {self.run(at + '?.outerHTML')}"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key, shift=False, control=False):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key],
                      modifiers=8 * shift + 2 * control,
                      **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def drop(self, selector, *files):
        """Drags files from outside over an element and lets them go."""
        box = self.run(f"(({{x, y}}) => [x + 5, y + 5])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def choose_files(self, selector, *files):
        """What the dialog for files does with those that a person chooses."""
        element = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")["result"]
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=element["objectId"])

    def save_files_in(self, folder):
        self.browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder),
                          browserContextId=self.context)

    def wait_for_file(self, name):
        """Waits until a file is saved, to its last byte."""
        end = time.monotonic() + PATIENCE
        while name not in self.saved:
            assert time.monotonic() < end, f"{name} is not saved, but {self.saved}; {self.problems}"
            self.browser.receive(0.02)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def check_texts(page, file):
    """All languages of a page have the same texts, with the same places for values, and all that the document names."""
    source = page.run(f"fetch('{file}').then(answer => answer.text())")
    tables = page.run(f"({source[source.index('useWords(') + len('useWords('):source.rindex(')')]})")
    assert set(tables) == {"en", "zh", "ja"}
    for table in tables.values():
        assert set(table) == set(tables["en"])
        for name, text in table.items():
            assert sorted(re.findall(r"{(\w+)}", text)) == sorted(re.findall(r"{(\w+)}", tables["en"][name])), name
    named = page.run("[...document.querySelectorAll('[data-text], [data-label], [data-placeholder]')]"
                     ".flatMap(({dataset}) => [dataset.text, dataset.label, dataset.placeholder]).filter(Boolean)")
    assert set(named) <= set(tables["en"])
