"""`marquee serve` on models that a sweep has kept: what it answers is what `marquee recommend` says, people use the page in a real browser, once wide
and once as narrow as a phone, it is closed to those who should not read it, and it ends as it should. With MARQUEE_PICTURES=FOLDER
pictures of the page are left there."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from cluster import BIN, models, wait_for  # noqa: E402
from driven_browser import AVAILABLE, DrivenBrowser  # noqa: E402
from kept_models import KeptModelsTest  # noqa: E402

TOWERS = """
  towers:
    kind: two_tower
    dim: 16
    query: {features: [{name: movie_id, kind: history, pooling: mean, weight: rating}], layers: [32, 16]}
    candidate: {features: [movie_id, movie_genres], layers: [16]}
    bias: true
    loss: {kind: full_softmax, mask: 0.4}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: EPOCHS
    batch_size: 512
"""

IDS = """
  ids:
    kind: two_tower
    dim: 8
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    loss: {kind: full_softmax}
    optimizer: {kind: adam, learning_rate: 0.01}
    epochs: EPOCHS
    batch_size: 512
"""

STARS = """
  stars:
    kind: ranking
    dim: 8
    dot: {user: {features: [user_id]}, item: {features: [movie_id]}}
    bias: true
    loss: {kind: squared_error}
    optimizer: {kind: adagrad, learning_rate: 0.05}
    epochs: EPOCHS
    batch_size: 512
"""

LAYERS = """
  layers:
    kind: ranking
    dim: 8
    tower: {features: [user_id, movie_id], layers: [16]}
    loss: {kind: squared_error}
    optimizer: {kind: adagrad, learning_rate: 0.05}
    epochs: EPOCHS
    batch_size: 512
"""

SWEEP = models(3, TOWERS, IDS, STARS, LAYERS) + "sweep: {models: [towers, ids, stars, layers], keep: all}\n"
TOKEN = "correct-horse-battery-staple"


class Server:
    """`marquee serve`; use as a context manager."""

    def __init__(self, *arguments):
        command = [BIN / "marquee", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line.startswith("Movies: http://"):
            raise AssertionError(f"{line}{self.process.stderr.read()}")
        self.address = line.split("//")[1].strip().rstrip("/")
        wait_for(lambda: self.get("/readyz")[0] == 200 or self.process.poll() is not None, "it is ready")
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, text)"""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers=headers)

    def json(self, path):
        status, _, text = self.get(path)
        assert status == 200, text
        return json.loads(text)

    def post(self, body):
        status, _, text = self.ask("POST", "/api/recommendations", json.dumps(body))
        assert status == 200, text
        return json.loads(text)


def picture(browser, name, whole_page=True):
    folder = os.environ.get("MARQUEE_PICTURES")
    if folder:
        browser.screenshot(pathlib.Path(folder) / f"{name}.png", whole_page)


class ServeTest(KeptModelsTest):
    sweep = SWEEP

    def both(self):
        return [*self.model("towers"), "--predictions", self.folder / "models" / "stars"]

    def recommended(self, name, *arguments):
        result = subprocess.run([BIN / "marquee", "recommend", *self.model(name), *arguments, "--json"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def assert_same(self, got, want, where=""):
        """But for the last digits of numbers, which differ with the number of threads."""
        self.assertEqual(type(got), type(want), where)
        if isinstance(got, dict):
            self.assertEqual(list(got), list(want), where)
            for key in got:
                self.assert_same(got[key], want[key], f"{where}.{key}")
        elif isinstance(got, list):
            self.assertEqual(len(got), len(want), where)
            for number, (one, other) in enumerate(zip(got, want, strict=True)):
                self.assert_same(one, other, f"{where}[{number}]")
        elif isinstance(got, float):
            self.assertAlmostEqual(got, want, delta=1e-4 * max(1, abs(want)), msg=where)
        else:
            self.assertEqual(got, want, where)

    # ------------------------------------------------------------------------------------------------------- programs

    def test_answers_are_what_recommend_says(self):
        for name in ("towers", "ids", "stars"):
            with self.subTest(name), Server(*self.model(name)) as server:
                for user, seen in (("42", False), ("7", True)):
                    want = self.recommended(name, "--user", user, "--top", "20", *([] if seen else ["--unseen"]))["users"][0]
                    got = server.json(f"/api/users/{user}/recommendations?count=20&unseen={'false' if seen else 'true'}")
                    self.assert_same(got, want)
                best = want["best_liked"]
                rates = [argument for movie in best for argument in ("--rate", f"{movie['movie']}={movie['rating']:g}")]
                guest = server.post({"ratings": [{"movie": movie["movie"], "rating": movie["rating"]} for movie in best]})
                self.assert_same(guest, self.recommended(name, *rates)["guest"])
                title = best[0]["title"]
                found = server.json("/api/search?q=" + urllib.parse.quote(title))["movies"]
                self.assertEqual(found[0]["title"], title)

    def test_predictions_of_another_model_stand_beside_its_movies(self):
        everything = ["--top", "100000"]
        stars = {movie["movie"]: movie["rating"] for movie in self.recommended("stars", "--user", "42", *everything)["users"][0]["movies"]}
        towers = self.recommended("towers", "--user", "42", "--unseen")["users"][0]
        rates = ["--rate", f"{towers['best_liked'][0]['movie']}=5"]
        guest_stars = {movie["movie"]: movie["rating"] for movie in self.recommended("stars", *rates, *everything)["guest"]["movies"]}
        with Server(*self.both()) as server:
            got = server.json("/api/users/42/recommendations")
            self.assertEqual([movie["movie"] for movie in got["movies"]], [movie["movie"] for movie in towers["movies"]])
            for movie in got["movies"]:
                self.assertAlmostEqual(movie["rating"], stars[movie["movie"]], places=3)
            guest = server.post({"ratings": [{"movie": towers["best_liked"][0]["movie"], "rating": 5}]})
            for movie in guest["movies"]:
                self.assertAlmostEqual(movie["rating"], guest_stars[movie["movie"]], places=3)
            self.assertEqual(server.json("/api/model")["predictions_of"], "stars")

    def test_a_model_without_guests_says_so(self):
        with Server(*self.model("layers")) as server:
            about = server.json("/api/model")
            self.assertEqual((about["guests"], about["predictions_of"]), (False, "layers"))
            status, _, text = server.ask("POST", "/api/recommendations", '{"ratings": [{"movie": "1", "rating": 4}]}')
            self.assertEqual(status, 409, text)
            self.assertIn("its layers take what they have learnt of each user", json.loads(text)["error"]["message"])

    def test_an_approximate_index_finds_nearly_the_same(self):
        want = {movie["movie"] for movie in self.recommended("ids", "--user", "42", "--unseen")["users"][0]["movies"]}
        with Server(*self.model("ids"), "--approximate") as server:
            got = {movie["movie"] for movie in server.json("/api/users/42/recommendations")["movies"]}
        self.assertGreaterEqual(len(got & want), 9)

    def test_refusals_are_clear(self):
        with Server(*self.model("towers")) as server:
            for method, path, body, status, field, message in (
                ("GET", "/api/users/99999999/recommendations", None, 404, "user", "user_id 99999999: not among the"),
                ("GET", "/api/users/42/recommendations?count=0", None, 400, "count", "from 1 to 100"),
                ("POST", "/api/recommendations", "{", 400, "body", "is no JSON"),
                ("POST", "/api/recommendations", '{"ratings": [{"movie": "1", "rating": 9}]}', 400, "ratings[0].rating", "from 1 to 5"),
                ("POST", "/api/recommendations", '{"ratings": [{"movie": "none", "rating": 4}]}', 404, "ratings[0].movie", "not among the"),
                ("POST", "/api/recommendations", " " * 200_000, 413, "body", "at most 131072 bytes"),
                ("GET", "/api/films", None, 404, "", "no /api/films here"),
            ):
                got, _, text = server.ask(method, path, body)
                self.assertEqual(got, status, text)
                error = json.loads(text)["error"]
                self.assertEqual((error["status"], error["field"]), (status, field))
                self.assertIn(message, error["message"])
            # And it goes on.
            self.assertEqual(len(server.json("/api/users/42/recommendations")["movies"]), 10)

    def test_metrics_are_those_of_the_document(self):
        listed = subprocess.run([BIN / "marquee", "metrics"], check=True, capture_output=True, text=True).stdout
        rows = [line.split("|") for line in listed.splitlines() if line.startswith("| `")]
        names = {row[1].strip(" `") for row in rows if row[4].strip() == "all" or "marquee serve" in row[4]}
        with Server(*self.model("towers")) as server:
            server.json("/api/users/42/recommendations")
            text = server.get("/metrics")[2]
        self.assertEqual(set(re.findall(r"(?m)^# TYPE (\S+)", text)), names)
        self.assertIn('marquee_answers_total{question="user",status="200"} 1\n', text)

    def test_sigterm_ends_it(self):
        for name, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with Server(*self.model("towers")) as server:
                server.process.send_signal(name)
                _, errors = server.process.communicate(timeout=60)
                self.assertEqual(server.process.returncode, code, errors)

    def test_what_cannot_be_served_is_refused(self):
        def refused(code, *arguments):
            done = subprocess.run([BIN / "marquee", "serve", "--port", "0", *map(str, arguments)], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, code, done.stderr)
            return done.stderr

        self.assertIn("--host 0.0.0.0: is not loopback, so --token-file", refused(1, *self.model("towers"), "--host", "0.0.0.0"))
        self.assertIn("has several models; name one of", refused(1, "--model", self.folder))
        self.assertIn("no kept model is there", refused(1, "--model", self.folder / "none"))
        self.assertIn("predicts no ratings", refused(1, *self.model("towers"), "--predictions", self.folder / "models" / "ids"))
        refused(2, "--port", "70000", *self.model("towers"))
        token = self.folder / "open-token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o644)
        self.assertIn("--token-file: ", refused(1, *self.model("towers"), "--token-file", token))

    def test_it_keeps_its_pace(self):
        if not (BIN / "serve_bench").exists():
            self.skipTest("serve_bench was not built")
        command = [BIN / "serve_bench", *self.both(), "--rate", "100", "--seconds", "3", "--warm-up", "1", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        measured = json.loads(done.stdout)
        self.assertEqual(measured["all"]["errors"], 0)
        for kind in ("user", "guest", "search", "/healthz"):
            self.assertGreater(measured[kind]["requests"], 20)
            self.assertGreater(measured[kind]["p99_ms"], 0)

    # --------------------------------------------------------------------------------------------------------- people

    @unittest.skipUnless(AVAILABLE, "NO CHROMIUM, chromedriver OR SELENIUM: the page was not looked at by a browser")
    def test_a_person_finds_movies(self):
        with Server(*self.both()) as server, DrivenBrowser(1280) as wide, DrivenBrowser(390, 844) as phone:
            popular = server.json("/api/search")["movies"]
            for browser, name in ((wide, "wide"), (phone, "phone")):
                with self.subTest(name):
                    self.rate_some_movies(server, browser, name, popular)
                    self.look_at_a_user(server, browser, name)
                    self.assertTrue(browser.fits(), "the page is wider than its window")
                    foreign = browser.run("return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))")
                    self.assertEqual([one for one in foreign if not one.startswith("data:")], [])

            server.process.kill()
            wide.driver.find_element("id", "as-guest").click()
            self.click_star(wide, "#found", popular[0]["movie"], 3)
            wide.wait(lambda: "The server does not answer." in wide.text("#trouble"), "the page notices that the server has gone")

    def rate_some_movies(self, server, browser, name, popular):
        browser.driver.get(f"http://{server.address}/")
        browser.wait(lambda: popular[0]["title"] in browser.text("#found"), "the most rated movies are offered")
        self.assertIn("Give some movies their stars", browser.text("#answer-note"))
        self.assertIn("Stars are predicted by stars", browser.text("#about"))
        picture(browser, f"{name}-empty")

        # A title is typed, as one does, and found; its fifth star is clicked.
        wanted = popular[5]
        browser.driver.find_element("id", "search").send_keys(wanted["title"].lower()[:-1])
        browser.wait(lambda: browser.text("#found .what").startswith(wanted["title"]), "the movie is found first")
        self.click_star(browser, "#found", wanted["movie"], 5)
        rows = lambda: browser.run("return document.querySelectorAll('#recommendations li').length")  # noqa: E731
        browser.wait(lambda: rows() == 10, "ten movies are recommended")
        want = server.post({"ratings": [{"movie": wanted["movie"], "rating": 5}]})["movies"]
        self.assertEqual(browser.text("#recommendations b").splitlines(), [movie["title"] for movie in want])
        first = browser.text("#recommendations li:first-child")
        self.assertIn(f"★ {want[0]['rating']:.1f}", first)
        self.assertIn("predicted", first)
        self.assertIn(f"Because of {wanted['title']}\u00a0(5★)", browser.text("#recommendations"))

        # A second rating changes the answer; the same movie's stars show wherever it stands; all is there after the page is loaded anew.
        search = browser.driver.find_element("id", "search")
        search.clear()
        search.send_keys("zzzz")
        browser.wait(lambda: "No title has words" in browser.text("#found-note"), "nothing is found, and it says so")
        search.clear()
        search.send_keys(" ")
        browser.wait(lambda: popular[0]["title"] in browser.text("#found"), "the most rated movies are offered again")
        self.click_star(browser, "#found", popular[0]["movie"], 1)
        browser.wait(lambda: "From your 2 ratings" in browser.text("#answer-note"), "both ratings count")
        browser.driver.refresh()
        browser.wait(lambda: "From your 2 ratings" in browser.text("#answer-note"), "ratings are remembered")
        self.assertEqual(self.stars_of(browser, "#rated", wanted["movie"]), 5)
        browser.wait(lambda: self.stars_of(browser, "#found", popular[0]["movie"]) == 1, "they show where the movie is offered")
        browser.driver.find_element("id", "more").click()
        browser.wait(lambda: rows() == 20, "more movies are recommended")
        picture(browser, f"{name}-guest")
        browser.driver.find_element("css selector", f"#rated [data-movie='{popular[0]['movie']}'] .clear").click()
        browser.wait(lambda: "From your 1 rating" in browser.text("#answer-note"), "a rating is taken back")
        browser.driver.find_element("id", "forget").click()
        browser.wait(lambda: "Give some movies their stars" in browser.text("#answer-note") and rows() == 0, "all are forgotten")
        self.assertEqual(browser.complaints(), [])

    def look_at_a_user(self, server, browser, name):
        browser.driver.find_element("id", "as-user").click()
        key = browser.driver.find_element("id", "user-key")
        key.send_keys("4")
        browser.wait(lambda: browser.run("return document.querySelectorAll('#user-keys option').length") == 10, "users are suggested")
        key.send_keys("2")
        browser.driver.find_element("id", "show-user").click()
        want = server.json("/api/users/42/recommendations")
        titles = lambda: browser.text("#recommendations b").splitlines()  # noqa: E731
        browser.wait(lambda: titles() == [movie["title"] for movie in want["movies"]], "the user's movies are shown")
        self.assertIn(f"Liked best, of {want['rated']} ratings", browser.text("#liked-title"))
        self.assertIn(want["best_liked"][0]["title"], browser.text("#liked"))
        self.assertNotIn("rated already", browser.text("#recommendations"))
        self.assertTrue(browser.driver.current_url.endswith("?user=42"))
        picture(browser, f"{name}-user")
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        picture(browser, f"{name}-user-dark")
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

        every = [movie["title"] for movie in server.json("/api/users/42/recommendations?unseen=false")["movies"]]
        browser.driver.find_element("id", "seen-too").click()
        browser.wait(lambda: titles() == every, "movies that they have rated are shown too")
        browser.driver.refresh()
        browser.wait(lambda: titles() == [movie["title"] for movie in want["movies"]], "the address names the user")
        browser.driver.find_element("id", "anyone").click()
        browser.wait(lambda: "For user" in browser.text("#answer-note") and browser.driver.find_element("id", "user-key").get_property("value") in
                     browser.text("#answer-note"), "somebody else is shown")
        self.assertEqual(browser.complaints(), [])

        # Somebody who is not there: an error that says so, and no movies under it. The console names the refused request, and nothing else.
        key = browser.driver.find_element("id", "user-key")
        key.clear()
        key.send_keys("99999999")
        browser.driver.find_element("id", "show-user").click()
        browser.wait(lambda: "No user is called “99999999”." in browser.text("#trouble"), "the error is shown")
        self.assertEqual(titles(), [])
        picture(browser, f"{name}-error", whole_page=False)
        for complaint in browser.complaints():
            self.assertIn("/api/users/99999999/recommendations", complaint)
            self.assertIn("404", complaint)

    def click_star(self, browser, where, movie, rating):
        browser.driver.find_element("css selector", f"{where} [data-movie='{movie}'] [data-rating='{rating}']").click()

    def stars_of(self, browser, where, movie):
        return browser.run("return document.querySelectorAll(arguments[0]).length", f"{where} [data-movie='{movie}'] .on")

    @unittest.skipUnless(AVAILABLE, "NO CHROMIUM, chromedriver OR SELENIUM: the page was not looked at by a browser")
    def test_a_person_is_told_what_a_model_cannot_do(self):
        with Server(*self.model("layers")) as server, DrivenBrowser(390, 844) as phone:
            phone.driver.get(f"http://{server.address}/")
            phone.wait(lambda: "Choose a user" in phone.text("#answer-note"), "users are offered at once")
            phone.driver.find_element("id", "as-guest").click()
            phone.wait(lambda: "This model can say nothing to a guest" in phone.text("#trouble"), "guests are told why not")
            self.assertEqual(phone.complaints(), [])

    @unittest.skipUnless(AVAILABLE, "NO CHROMIUM, chromedriver OR SELENIUM: the page was not looked at by a browser")
    def test_elsewhere_a_token_opens_it(self):
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        with Server(*self.both(), "--token-file", token) as server, DrivenBrowser(390, 844) as phone:
            self.assertEqual(server.get("/api/model")[0], 401)
            self.assertEqual(server.get("/api/model", {"Authorization": f"Bearer {TOKEN}"})[0], 200)
            phone.driver.get(f"http://{server.address}/")
            self.assertTrue(phone.driver.current_url.endswith("/login"))
            picture(phone, "phone-login", whole_page=False)
            phone.driver.find_element("id", "token").send_keys(TOKEN)
            phone.driver.find_element("css selector", "button").click()
            phone.wait(lambda: "Rated most often" in phone.text("#found-note"), "the page is shown")
            self.assertTrue(phone.fits())
            self.assertEqual(phone.complaints(), [])
            server.process.send_signal(signal.SIGTERM)
            output, errors = server.process.communicate(timeout=60)
            self.assertNotIn(TOKEN, output + errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
