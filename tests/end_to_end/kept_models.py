"""For tests of what is done with kept models: those of a sweep that runs once for the class."""

import pathlib
import shutil
import tempfile
import unittest

from cluster import Cluster


class KeptModelsTest(unittest.TestCase):
    """`sweep` is the text of the sweep file. The models are in folder/models, the data that they were trained on is `data`."""

    sweep = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        with Cluster(cls.sweep) as cluster:
            cluster.start()
            code = cluster.wait()
            if code != 0:
                raise AssertionError(f"exit code {code}:\n{cluster.output()}")
            shutil.copytree(cluster.out / "models", cls.folder / "models")
            cls.data = cls.folder / "data.mq"
            shutil.copy(cluster.data, cls.data)

    def model(self, name):
        return ["--model", self.folder / "models" / name, "--data", self.data]
