#!/usr/bin/env python3
"""Holds deploy/kubernetes against Kubernetes' schema (scripts/kubernetes-schema.json, no network) and against the gateway.

    scripts/check-kubernetes.py TIDEGATE

TIDEGATE is the gateway's binary: it is asked what the settings come to. Exits with 1 and a line for each thing that is wrong.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import tomllib
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy/kubernetes"
SECRETS = "/run/secrets/tidegate"

wrong: list[str] = []


def main(binary: str) -> int:
    objects = manifests()
    for name, thing in objects:
        schema(name, thing)
    whole(objects)
    pod(find(objects, "Deployment"), find(objects, "Secret"), binary)
    names(objects)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"deploy/kubernetes: {len(objects)} objects, {len(wrong)} things wrong")
    return 1 if wrong else 0


def require(holds: bool, what: str) -> None:
    if not holds:
        wrong.append(what)


def manifests() -> list[tuple[str, dict]]:
    """Every object of every file that is one."""
    objects = []
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name == "kustomization.yaml" or file.name.endswith(".values.yaml"):
            continue
        objects += [(file.name, thing) for thing in yaml.safe_load_all(file.read_text()) if thing]
    return objects


def find(objects: list[tuple[str, dict]], kind: str) -> dict:
    return next(thing for _, thing in objects if thing["kind"] == kind)


def schema(file: str, thing: dict) -> None:
    """Unknown fields, wrong types and missing ones. A kind that the schema does not have is an error, too."""
    definitions = json.loads((ROOT / "scripts/kubernetes-schema.json").read_text())
    kind = definitions["kinds"].get(f"{thing.get('apiVersion')} {thing.get('kind')}")
    if kind is None:
        wrong.append(f"{file}: scripts/kubernetes-schema.json has no {thing.get('apiVersion')} {thing.get('kind')}")
        return
    validator = jsonschema.Draft202012Validator({**kind, "$defs": definitions["$defs"]})
    for error in validator.iter_errors(thing):
        wrong.append(f"{file}: {thing['kind']}: {'/'.join(map(str, error.path))}: {error.message}")


def whole(objects: list[tuple[str, dict]]) -> None:
    """kustomization.yaml has every file but the example, and nothing that isn't there."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    there = {file for file, _ in objects if not file.startswith("secret.example")}
    require(set(kustomization["resources"]) == there, f"kustomization.yaml: {kustomization['resources']}, but there are {sorted(there)}")
    for generator in kustomization["configMapGenerator"]:
        for file in generator["files"]:
            require((FOLDER / file).exists(), f"kustomization.yaml: no {file}")


def pod(deployment: dict, secret: dict, binary: str) -> None:
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    require(spec.get("enableServiceLinks") is False, "deployment.yaml: without enableServiceLinks: false the gateway warns of the variables of the Service named tidegate")

    # Every key that is mounted or named is one of the example's.
    given = set(secret["stringData"])
    mounted = next(volume for volume in spec["volumes"] if "secret" in volume)["secret"]["items"]
    named = {item["key"] for item in mounted}
    named |= {ref["key"] for env in container["env"] if (ref := env.get("valueFrom", {}).get("secretKeyRef"))}
    require(named == given, f"deployment.yaml takes {sorted(named)} of the secret, secret.example.yaml has {sorted(given)}")

    settings = effective(container, secret, mounted, binary)
    if settings is None:
        return
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, setting in (("http", "listen"), ("admin", "admin_listen")):
        require(settings[setting].endswith(f":{ports[name]}"), f"deployment.yaml: port {name} is {ports[name]}, but {setting} is {settings[setting]}")

    pre_stop = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    deadline = seconds(settings["drain"]["deadline"])
    grace = spec["terminationGracePeriodSeconds"]
    require(grace >= pre_stop + deadline + 5, f"deployment.yaml: a grace period of {grace} s is not 5 s more than preStop ({pre_stop} s) and drain.deadline ({deadline:g} s)")
    going = pre_stop + seconds(settings["drain"]["delay"]) + seconds(settings["drain"]["window"])
    ready = deployment["spec"]["minReadySeconds"]
    require(ready >= going, f"deployment.yaml: minReadySeconds ({ready} s) is less than a pod takes to go ({going:g} s): two would at once")

    hpa = yaml.safe_load((FOLDER / "hpa.yaml").read_text())["spec"]
    target = next(int(metric["pods"]["target"]["averageValue"]) for metric in hpa["metrics"] if metric["type"] == "Pods")
    most, pods = settings["limits"]["connections"], hpa["minReplicas"]
    require(target * pods <= most * (pods - 1), f"hpa.yaml: {pods} pods of {target} streams don't fit into {pods - 1} of {most}")


def effective(container: dict, secret: dict, mounted: list[dict], binary: str) -> dict | None:
    """The settings as the gateway understands the file and the pod's variables, with stand-ins for what comes from elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        for item in mounted:
            (Path(folder) / item["path"]).write_text(secret["stringData"][item["key"]])
        config = Path(folder) / "tidegate.toml"
        config.write_text((FOLDER / "tidegate.toml").read_text().replace(SECRETS, folder))
        environment = {}
        for env in container["env"]:
            source = env.get("valueFrom", {})
            key = source.get("secretKeyRef", {}).get("key")
            environment[env["name"]] = env.get("value") or (secret["stringData"][key] if key else "pod-1")
        require(environment["TIDEGATE_CONFIG"] == "/etc/tidegate/tidegate.toml", "deployment.yaml: TIDEGATE_CONFIG is not where the ConfigMap is mounted")
        environment["TIDEGATE_CONFIG"] = str(config)
        for command in ("check", "print"):
            asked = subprocess.run([binary, "config", command], env=environment, capture_output=True, text=True, check=False)
            if asked.returncode != 0:
                wrong.append(f"tidegate.toml, or deployment.yaml's env: {asked.stderr.strip()}")
                return None
        return tomllib.loads(asked.stdout)


def seconds(text: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(float(count) * units[unit] for count, unit in re.findall(r"(\d+)([a-z]+)", text))


def names(objects: list[tuple[str, dict]]) -> None:
    """What one object names of another is there: labels, ports, targets."""
    deployment = find(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    services = {thing["metadata"]["name"]: thing for _, thing in objects if thing["kind"] == "Service"}
    selectors = [(f"Service {name}", service["spec"]["selector"]) for name, service in services.items()]
    selectors += [(kind, find(objects, kind)["spec"]["selector"]["matchLabels"]) for kind in ("Deployment", "PodDisruptionBudget")]
    selectors.append(("NetworkPolicy", find(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]))
    for who, selector in selectors:
        require(selector.items() <= labels.items(), f"{who} selects {selector}, but the pods are {labels}")
    for name, service in services.items():
        for port in service["spec"]["ports"]:
            require(port["targetPort"] in ports, f"Service {name}: the pods have no port {port['targetPort']}")
    target = find(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    require((target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"]), f"hpa.yaml: no {target}")
    require("replicas" not in deployment["spec"], "deployment.yaml: replicas are hpa.yaml's to say")
    for rule in [rule for _, thing in objects if thing["kind"] == "Ingress" for rule in thing["spec"]["rules"]]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            there = {port["name"] for port in services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]}
            require(backend["port"]["name"] in there, f"ingress.yaml: no Service {backend}")
            require(backend["name"] != "tidegate-admin", "ingress.yaml: the admin listener is not for the outside")
    admin = [rule for rule in find(objects, "NetworkPolicy")["spec"]["ingress"] if any(port["port"] == "admin" for port in rule["ports"])]
    require(len(admin) == 1 and "from" in admin[0] and len(admin[0]["ports"]) == 1, "networkpolicy.yaml: one rule lets Prometheus, and nobody else, to the admin listener")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1]))
