"""The scheduler's status page in a real browser, while a sweep runs: curves grow, a killed server shows, filters filter, the console is silent,
and it fits a phone. And who may read it: on loopback everybody, elsewhere whoever knows the token. With MARQUEE_PICTURES=FOLDER
pictures of the page are left there."""

import json
import os
import pathlib
import re
import signal
import socket
import sys
import unittest
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from cluster import CLUSTER, RANKING, TWO_TOWER, Cluster, models, wait_for  # noqa: E402
from driven_browser import AVAILABLE, DrivenBrowser  # noqa: E402

SWEEP = models(200, TWO_TOWER, RANKING) + """
sweep:
  trials:
    - {name: towers, model: two_tower, parameters: {dim: {values: [4, 8]}}}
    - {name: stars, model: ranking}
  validate_every: 1
  keep: none
"""

SHORT = models(1, RANKING) + "sweep: {models: [ranking], keep: none}\n"

TWO_COPIES = "  replication: 2\n  primary_lease_seconds: 0.5\n  checkpoints: {every_seconds: 2}\n"


def cluster_text(extra):
    return CLUSTER.format(launcher="local", port=0, servers=3, shards=1, workers=2) + extra


def status_address(cluster):
    return wait_for(lambda: ((cluster.endpoints() or {}).get("scheduler") or {}).get("status"), "the status page is served")


def fetch(address, path, headers=None, method="GET"):
    """(status code, headers, text) of a page; redirects are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments):
            return None

    request = urllib.request.Request(f"http://{address}{path}", headers=headers or {}, method=method)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(address, headers=None):
    return json.loads(fetch(address, "/status.json", headers)[2])


def picture(browser, name):
    folder = os.environ.get("MARQUEE_PICTURES")
    if folder:
        browser.screenshot(pathlib.Path(folder) / f"{name}.png")


@unittest.skipUnless(AVAILABLE, "NO CHROMIUM, chromedriver OR SELENIUM: the page was not looked at by a browser")
class StatusPageTest(unittest.TestCase):
    def test_a_person_follows_a_sweep(self):
        with Cluster(SWEEP, cluster_text=cluster_text(TWO_COPIES)) as cluster, DrivenBrowser(1280) as wide, DrivenBrowser(390, 844) as phone:
            cluster.start()
            address = status_address(cluster)
            self.assertIn(f"Status page: http://{address}/", cluster.output())
            for browser in (wide, phone):
                browser.driver.get(f"http://{address}/")

            # A curve grows while one looks at it.
            def longest():
                return max((len(trial.get("losses", [])) for trial in status(address)["trials"]["list"]), default=0)

            wide.wait(lambda: longest() >= 5, "a loss curve has points")

            def drawn():
                return wide.run("""return Math.max(0, ...[...document.querySelectorAll('#charts .chart')].flatMap(
                    place => echarts.getInstanceByDom(place).getOption().series.map(one => one.data.length)))""")

            points = wide.wait(drawn, "a curve is drawn")
            wide.wait(lambda: drawn() > points, "the curve has grown")
            wide.wait(lambda: "Nothing is wrong." in wide.text("#problems"), "all is well")
            wide.wait(lambda: "3 of 3" in wide.text("#facts") and "whole" in wide.text("#facts"), "servers and copies are there")
            wide.wait(lambda: "checkpoint 1 is written" in wide.text("#event-list"), "a checkpoint is an event")
            picture(wide, "wide")
            picture(phone, "phone")

            # Click and type.
            rows = lambda: wide.run("return document.querySelectorAll('#trial-table tbody tr').length")  # noqa: E731
            self.assertEqual(rows(), 3)
            wide.driver.find_element("id", "name-filter").send_keys("stars")
            wide.wait(lambda: rows() == 1 and "stars" in wide.text("#trial-table"), "the filter filters")
            wide.driver.find_element("id", "name-filter").clear()
            wide.driver.find_element("id", "name-filter").send_keys("no such")
            wide.wait(lambda: rows() == 0 and "No trial is like that" in wide.text("#trial-note"), "nothing is like that")

            # A server dies: the page says so by itself, and when all is well again.
            victim = next(pid for pid, line in cluster.children("ps").items() if re.search(r"--name s1\b", line))
            os.kill(victim, signal.SIGKILL)
            wide.wait(lambda: "server s1 is lost" in wide.text("#event-list"), "the loss is an event")
            wide.wait(lambda: "took over" in wide.text("#event-list"), "copies took over")
            wide.wait(lambda: "every partition has its second copy again" in wide.text("#event-list"), "copies are whole again")
            wide.driver.find_element("id", "only-problems").click()
            wide.wait(lambda: "server s1 is lost" in wide.text("#event-list") and "has joined" not in wide.text("#event-list"),
                      "only warnings and errors are listed")
            picture(phone, "phone-after")

            for browser in (wide, phone):
                self.assertTrue(browser.fits(), "the page is wider than its window")
                self.assertEqual(browser.complaints(), [])
            foreign = wide.run("return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))")
            self.assertEqual([name for name in foreign if not name.startswith("data:")], [])

            # The scheduler ends: the page says that what it shows is old.
            cluster.stop()
            wide.wait(lambda: "No news from the scheduler" in wide.text("#gone"), "the page notices")

    def test_elsewhere_a_token_opens_it(self):
        token = "correct-horse-battery-staple"
        text = cluster_text("  status: {host: 127.0.0.1, token_file: token}\n")
        with Cluster(SWEEP, cluster_text=text) as cluster, DrivenBrowser(390, 844) as phone:
            file = cluster.folder / "token"
            file.write_text(token + "\n")
            file.chmod(0o600)
            cluster.start()
            address = status_address(cluster)
            phone.driver.get(f"http://{address}/")
            self.assertTrue(phone.driver.current_url.endswith("/login"))
            phone.driver.find_element("id", "token").send_keys("a wrong one, long enough")
            phone.driver.find_element("css selector", "button").click()
            phone.wait(lambda: "This is not the token." in phone.text(".refused"), "a wrong token is refused")
            phone.driver.find_element("id", "token").send_keys(token)
            phone.driver.find_element("css selector", "button").click()
            phone.wait(lambda: "2 of 2" in phone.text("#facts"), "the page is shown")
            phone.wait(lambda: "wrong tokens shown: 1" in phone.text("#event-list"), "the wrong token is an event")
            self.assertTrue(phone.fits())

            # Programs, and a link with the token, which is in no address afterwards.
            self.assertEqual(fetch(address, "/status.json")[0], 401)
            self.assertEqual(fetch(address, "/status.json", {"Authorization": "Bearer wrong"})[0], 401)
            self.assertEqual(status(address, {"Authorization": f"Bearer {token}"})["cluster"], "test")
            code, headers, _ = fetch(address, f"/?token={token}")
            self.assertEqual((code, headers["Location"]), (303, "/"))
            self.assertIn("HttpOnly", headers["Set-Cookie"])
            self.assertNotIn(token, headers["Set-Cookie"])
            self.assertEqual(fetch(address, "/status.json", {"Cookie": headers["Set-Cookie"].split(";")[0]})[0], 200)
            self.assertEqual(fetch(address, "/healthz")[0], 200)
            cluster.stop()
            everything = cluster.output() + "".join(log.read_text() for log in cluster.out.glob("logs/*"))
            self.assertNotIn(token, everything)


class HealthTest(unittest.TestCase):
    def test_every_process_says_how_it_is(self):
        with Cluster(SWEEP) as cluster:
            cluster.start()
            address = status_address(cluster)
            names = ("scheduler", "s0", "s1", "w0", "w1")
            wait_for(lambda: set(names) <= set(cluster.endpoints() or {}), "all have registered")
            for name in names:
                metrics = cluster.endpoints()[name]["metrics"]
                self.assertEqual(fetch(metrics, "/healthz")[0], 200, name)
                wait_for(lambda: fetch(metrics, "/readyz")[0] == 200, f"{name} is ready")
            self.assertEqual(fetch(address, "/readyz")[0], 200)
            code, headers, _ = fetch(address, "/status.json")
            self.assertEqual((code, headers["X-Content-Type-Options"], headers["Cache-Control"]), (200, "nosniff", "no-store"))
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertEqual(fetch(address, "/status.json", {"Host": "rebound.example"})[0], 403)
            self.assertEqual(fetch(address, "/status.json", method="DELETE")[0], 405)
            self.assertEqual(fetch(address, "/nothing")[0], 404)
            self.assertEqual(fetch(address, "/report.html")[0], 404)

    def test_a_scheduler_without_servers_is_alive_and_not_ready(self):
        port = free_port()
        with Cluster(SWEEP, launcher="external", port=port, servers=1, workers=1) as cluster:
            cluster.start()
            address = status_address(cluster)
            self.assertEqual(fetch(address, "/healthz")[0], 200)
            code, _, text = fetch(address, "/readyz")
            self.assertEqual((code, text), (503, "not ready: servers that have not registered: s0\n"))
            self.assertEqual(status(address)["state"], "waiting")


class RefusalTest(unittest.TestCase):
    def refusal(self, extra, prepare=lambda cluster: None):
        with Cluster(SHORT, cluster_text=cluster_text(extra)) as cluster:
            prepare(cluster)
            cluster.start()
            self.assertEqual(cluster.wait(), 1)
            return cluster.output()

    def test_off_loopback_only_with_a_token(self):
        self.assertIn("key 'cluster.status.token_file': is missing: since host '0.0.0.0' is not loopback", self.refusal("  status: {host: 0.0.0.0}\n"))

    def test_a_token_that_everybody_reads_is_refused(self):
        def prepare(cluster):
            (cluster.folder / "token").write_text("0123456789abcdef\n")
            (cluster.folder / "token").chmod(0o644)

        self.assertIn("everybody on this machine has rights on it; chmod 600", self.refusal("  status: {token_file: token}\n", prepare))


if __name__ == "__main__":
    unittest.main(verbosity=2)
