"""A page of a server in a real browser that a test clicks and types in: headless Chromium, driven by Selenium (Debian packages chromium-driver
and python3-selenium)."""

import pathlib
import shutil
import tempfile
import time

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

AVAILABLE = bool(CHROMIUM and DRIVER and webdriver)


class DrivenBrowser:
    """Use as a context manager; `driver` is Selenium's. Pages are as wide as `width` CSS pixels, those under 500 are shown as on a phone."""

    def __init__(self, width=1280, height=900):
        self.folder = tempfile.mkdtemp(prefix="marquee-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                         f"--user-data-dir={self.folder}", f"--window-size={width},{height}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(DRIVER, log_path=str(pathlib.Path(self.folder) / "driver.log")), options=options)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')", selector)

    def wait(self, condition, what, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}; the page says:\n{self.text('body')[:4000]}")

    def complaints(self):
        """What the console has to say since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def fits(self):
        """Whether nothing makes the page wider than its window."""
        return self.run("return document.documentElement.scrollWidth <= window.innerWidth")

    def screenshot(self, path, whole_page=True):
        import base64

        parameters = {"format": "png", "captureBeyondViewport": whole_page}
        if whole_page:
            size = self.run("return [window.innerWidth, document.documentElement.scrollHeight]")
            parameters["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))
