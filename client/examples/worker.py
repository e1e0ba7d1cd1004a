#!/usr/bin/python3
"""A worker in Python, with the package mtd. Task: {"args":["some words"]}; the result is how many there are."""
import mtd


@mtd.task
def count(*args):
    if len(args) != 1 or not isinstance(args[0], str):
        raise mtd.Fail("one text is wanted", type="args", retry=False)
    return len(args[0].split())


if __name__ == "__main__":
    mtd.run()
