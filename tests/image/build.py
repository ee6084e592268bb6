"""Carries out infra/docker/Dockerfile without an engine: each stage is a bare Debian that debootstrap makes, each
instruction is done to it by chroot. An instruction that is not known here is an error, so that nothing is left out.

What stands in for the base images: Debian's minimal system for `debian:bookworm-slim`; the same with a C compiler and
this machine's Rust for `rust:VERSION-slim-bookworm`, refused if the versions differ.

    build.py PLACE    makes PLACE/image (the last stage) and PLACE/image.json (its ENV, USER, CMD ...)
"""

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIRROR = os.environ.get("MILLRACE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command, **options):
    subprocess.run(command, check=True, **options)


def instructions(text):
    """Each instruction and the rest of its line, comments left out, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.split(None, 1) for line in joined.splitlines()]


def context():
    """The files of the build context: what git would keep, less .dockerignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    ignored = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]

    def is_ignored(name):
        parts = name.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        # As Docker matches: * stops at a slash, and a pattern that names a folder takes what is below it.
        return any(fnmatch.fnmatch(path, rule) and path.count("/") == rule.count("/") for path in above for rule in ignored)

    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file() and not is_ignored(name)]


class Stage:
    def __init__(self, place, name, base):
        self.root = place / name
        self.config = {"env": {"PATH": PATH}, "workdir": "/", "user": "0:0", "expose": []}
        shutil.rmtree(self.root, ignore_errors=True)
        bare = place / "bare"
        if not bare.exists():
            part = place / "bare.part"
            shutil.rmtree(part, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "bookworm", part, MIRROR)
            part.rename(bare)
        run("cp", "--archive", bare, self.root)
        if base.startswith("rust:"):
            self.add_rust(base)
        elif base != "debian:bookworm-slim":
            sys.exit(f"nothing stands in for the image {base}")

    def add_rust(self, image):
        wanted = image.split(":")[1].split("-")[0]
        sysroot = Path(subprocess.check_output(["rustc", f"+{wanted}", "--print", "sysroot"], text=True).strip())
        self.sh("apt-get update -qq && apt-get install -yqq --no-install-recommends ca-certificates gcc libc6-dev")
        toolchain = self.root / "usr/local/rust"
        toolchain.mkdir()
        for part in ("bin", "lib"):
            run("cp", "--archive", sysroot / part, toolchain / part)
        self.config["env"]["PATH"] = "/usr/local/rust/bin:" + PATH
        # Crates that were fetched before need no network, and this machine's way to its registry holds here too.
        cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
        (self.root / "root/.cargo").mkdir(parents=True)
        for name in ("registry", "config.toml"):
            if (cargo / name).exists():
                run("cp", "--archive", cargo / name, self.root / "root/.cargo" / name)
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        if bundle.exists():
            shutil.copy(bundle, self.root / "etc/ssl/certs/ca-certificates.crt")

    def inside(self, path):
        """A path of an instruction, as one on this machine."""
        return self.root / os.path.join(self.config["workdir"], path).lstrip("/")

    def sh(self, script):
        environment = {"HOME": "/root", "LANG": "C.UTF-8", **self.config["env"]}
        for name in ("proc", "dev", "sys"):
            run("mount", "--bind", f"/{name}", self.root / name)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        shutil.copy("/etc/hosts", self.root / "etc/hosts")
        try:
            run(
                "chroot", f"--userspec={self.config['user']}", self.root, "/bin/sh", "-c",
                f"cd {shlex.quote(self.config['workdir'])} && {script}", env=environment,
            )
        finally:
            for name in ("sys", "dev", "proc"):
                run("umount", self.root / name)

    def copy(self, words, stages):
        origin = ROOT
        if words[0].startswith("--from="):
            origin = stages[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        to_folder = target.endswith("/") or target == "." or len(sources) > 1
        for source in sources:
            if origin is ROOT:
                names = [name for name in context() if source in (".", name) or name.startswith(source.rstrip("/") + "/")]
                if not names:
                    sys.exit(f"COPY {source}: there is no such file in the context")
            else:
                names = [source.lstrip("/")]
            for name in names:
                below = name if source == "." else os.path.basename(name)
                place = self.inside(target) / below if to_folder else self.inside(target)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin / name, place)

    def do(self, word, rest, stages):
        if word == "RUN":
            self.sh(rest)
        elif word == "COPY":
            self.copy(shlex.split(rest), stages)
        elif word == "ENV":
            self.config["env"].update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "WORKDIR":
            self.config["workdir"] = os.path.join(self.config["workdir"], rest.strip())
            self.inside(".").mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.config["user"] = rest.strip()
        elif word == "EXPOSE":
            self.config["expose"] += rest.split()
        elif word in ("ENTRYPOINT", "CMD"):
            self.config[word.lower()] = json.loads(rest)
        elif word == "HEALTHCHECK":
            self.config["healthcheck"] = json.loads(rest[rest.index("CMD") + 3 :])
        else:
            sys.exit(f"the instruction {word} is not known here: teach tests/image/build.py")


def main():
    place = Path(sys.argv[1])
    stages, stage = {}, None
    for word, rest in instructions((ROOT / "infra/docker/Dockerfile").read_text()):
        print(f"{word} {rest[:110]}", flush=True)
        if word == "FROM":
            base, *named = rest.split()
            name = named[1] if named else "image"
            stage = stages[name] = Stage(place, name, base)
        else:
            stage.do(word, rest, stages)
    (place / "image.json").write_text(json.dumps(stage.config, indent=2) + "\n")
    size = subprocess.check_output(["du", "-sm", stage.root], text=True).split()[0]
    own = (stage.root / "usr/local/bin/millrace").stat().st_size >> 20
    print(f"the image's files: {size} MiB, of which the executable {own} MiB")


main()
