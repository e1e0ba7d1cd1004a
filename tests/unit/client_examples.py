#!/usr/bin/python3
"""The example workers in bash, Node, Python and C++ (with the installed library), all with the same answers."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from private_mtd import PYTHON, Daemon  # noqa: E402

sys.path.insert(0, PYTHON)
import mtd  # noqa: E402

EXAMPLES = os.path.join(HERE, "..", "..", "client", "examples")
BUILD = os.environ.get("MTD_BUILD")
LIMIT = 60


class Workers(unittest.TestCase):
    def answers(self, *command):
        with Daemon({"count": {"command": list(command), "workers": 2, "env": {"PYTHONPATH": PYTHON},
                               "tasks": {"mode": "task"}}}) as daemon, mtd.Client(daemon.runtime) as client:
            texts = ["one", "two words", "", "with \"quotes\" and \\ and 'these' and\nlines", "ä € 𝄞"]
            results = [future.result(LIMIT) for future in [client.submit("count", text) for text in texts]]
            self.assertEqual(results, [len(text.split()) for text in texts])
            with self.assertRaisesRegex(mtd.TaskFailed, "one text is wanted") as caught:
                client.submit("count", 7).result(LIMIT)
            self.assertEqual((caught.exception.attempts, caught.exception.reason), (1, "no_retry"))

    def need(self, program):
        found = shutil.which(program)
        if found is None:
            self.skipTest(f"{program} is not installed")
        return found

    def test_started_by_hand_they_say_what_they_are(self):
        without = {name: value for name, value in os.environ.items() if name != "MTD_TASK_FD"}
        for words in (("bash", "worker.sh"), ("node", "worker.js"), (sys.executable, "worker.py")):
            if shutil.which(words[0]) is None:
                continue
            done = subprocess.run([words[0], os.path.join(EXAMPLES, words[1])], env={**without, "PYTHONPATH": PYTHON},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, 'MTD_TASK_FD:? is not set: this program is a worker, which mtd starts in a pool with "tasks"')

    def test_bash(self):
        self.need("jq")
        self.answers(self.need("bash"), os.path.join(EXAMPLES, "worker.sh"))

    def test_node(self):
        self.answers(self.need("node"), os.path.join(EXAMPLES, "worker.js"))

    def test_python(self):
        self.answers(sys.executable, os.path.join(EXAMPLES, "worker.py"))

    def test_cpp_with_what_is_installed(self):
        if BUILD is None:
            self.skipTest("MTD_BUILD names no build directory")
        with tempfile.TemporaryDirectory() as prefix:
            self.install(prefix)
            program = os.path.join(prefix, "worker")
            environment = {**os.environ, "PKG_CONFIG_PATH": self.find(prefix, "mtd.pc")}
            flags = subprocess.run(["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs", "mtd"],
                                   env=environment, capture_output=True, text=True, check=True).stdout.split()
            self.assertIn("-lmtd", flags)
            libraries = os.path.dirname(os.path.realpath(self.find(prefix, "libmtd.so") + "/libmtd.so"))
            subprocess.run(["g++", "-Wall", "-Wextra", "-Wpedantic", "-Werror", os.path.join(EXAMPLES, "worker.cpp"),
                            "-std=c++20", "-I" + os.path.join(prefix, "include"), "-L" + libraries, "-lmtd",
                            "-Wl,-rpath," + libraries, "-o", program], check=True)
            self.answers(program)
            self.cmake(prefix)

    def cmake(self, prefix):
        """find_package(mtd) gives a target that links."""
        project = os.path.join(prefix, "project")
        os.mkdir(project)
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES CXX)\nfind_package(mtd 0.1 REQUIRED)\n"
                       f"add_executable(worker {os.path.join(EXAMPLES, 'worker.cpp')})\n"
                       "target_link_libraries(worker mtd::mtd)\n")
        build = os.path.join(project, "build")
        subprocess.run(["cmake", "-S", project, "-B", build, "-DCMAKE_PREFIX_PATH=" + prefix], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", build], check=True, stdout=subprocess.DEVNULL)

    @staticmethod
    def find(prefix, name):
        """The directory of a file below `prefix`."""
        return next(directory for directory, _, names in os.walk(prefix) if name in names)

    @staticmethod
    def install(prefix):
        """As `cmake --install` does it, but only this part: the programs may not all be built."""
        script = os.path.join(BUILD, "client", "cmake_install.cmake")
        subprocess.run(["cmake", "-DCMAKE_INSTALL_PREFIX=" + prefix, "-P", script], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main()
