#!/usr/bin/python3
"""What a package of mtd is made of, as SPDX 2.3 in JSON: the package itself, what it is linked with when it runs, and
what was compiled into it.

    packaging/sbom.py PACKAGE.deb > PACKAGE.spdx.json
"""
import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys

# Libraries of which headers or archives become part of the programs.
COMPILED_IN = ("nlohmann-json3-dev", "libspdlog-dev", "libfmt-dev", "libcli11-dev", "libstdc++-12-dev", "libc6-dev")


def field(package, name):
    return subprocess.run(["dpkg-deb", "--field", package, name], capture_output=True, text=True, check=True).stdout.strip()


def installed_version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else None


def entry(name, version, **more):
    identifier = "SPDXRef-" + "".join(c if c.isalnum() or c in ".-" else "-" for c in name)
    return {"SPDXID": identifier, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, **more}


def main():
    if len(sys.argv) != 2 or not os.path.isfile(sys.argv[1]):
        sys.exit(__doc__)
    path = sys.argv[1]
    content = pathlib.Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    version = field(path, "Version")
    own = entry("mtd", version, licenseConcluded="Apache-2.0", licenseDeclared="Apache-2.0",
                packageFileName=os.path.basename(path), checksums=[{"algorithm": "SHA256", "checksumValue": digest}])
    packages, relations = [own], [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                                   "relatedSpdxElement": own["SPDXID"]}]
    needed = [alternative.split()[0].split(":")[0] for alternative in field(path, "Depends").split(",") if alternative.strip()]
    for names, relation in ((needed, "DEPENDS_ON"), (COMPILED_IN, "STATIC_LINK")):
        for name in names:
            found = installed_version(name)
            if found is None:
                continue
            packages.append(entry(name, found))
            relations.append({"spdxElementId": own["SPDXID"], "relationshipType": relation,
                              "relatedSpdxElement": packages[-1]["SPDXID"]})
    when = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    json.dump({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"mtd-{version}",
               "documentNamespace": f"urn:mtd:{version}:{digest}",
               "creationInfo": {"created": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: packaging/sbom.py"]},
               "packages": packages, "relationships": relations}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
