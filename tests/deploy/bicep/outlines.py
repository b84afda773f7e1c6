"""Outlines of the resource types for which no type data is at hand: their properties, as far as we use them.

Written by hand, so they show a typing error or a property in the wrong place, not that Azure agrees. A property with
`!` is required, one with `-` is read-only; a list holds the shape of its items; `*` is any other property; a list of
several strings is an enumeration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tests.deploy.bicep.shapes import ANYTHING, BOOL, INT, STRING, Field, Fields, Many, Scalar, Shape

_TAGS = {"*": "string"}
_ID = {"id": "string"}

OUTLINES: dict[str, dict[str, Any]] = {
    "Microsoft.Network/virtualNetworks@2024-05-01": {
        "location": "string",
        "tags": _TAGS,
        "properties": {
            "addressSpace": {"addressPrefixes": ["string"]},
            "subnets": [
                {
                    "-id": "string",
                    "name": "string",
                    "properties": {
                        "addressPrefix": "string",
                        "privateEndpointNetworkPolicies": ["Disabled", "Enabled"],
                        "delegations": [{"name": "string", "properties": {"serviceName": "string"}}],
                    },
                }
            ],
        },
    },
    "Microsoft.Network/privateEndpoints@2024-05-01": {
        "location": "string",
        "tags": _TAGS,
        "properties": {
            "subnet": _ID,
            "privateLinkServiceConnections": [
                {"name": "string", "properties": {"privateLinkServiceId": "string", "groupIds": ["string"]}}
            ],
        },
    },
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01": {
        "properties": {
            "privateDnsZoneConfigs": [{"name": "string", "properties": {"privateDnsZoneId": "string"}}],
        },
    },
    "Microsoft.Network/privateDnsZones@2024-06-01": {"!location": "string", "tags": _TAGS},
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01": {
        "!location": "string",
        "tags": _TAGS,
        "properties": {"registrationEnabled": "bool", "virtualNetwork": _ID},
    },
    "Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31": {
        "!location": "string",
        "tags": _TAGS,
        "-properties": {"-clientId": "string", "-principalId": "string", "-tenantId": "string"},
    },
    "Microsoft.App/managedEnvironments@2025-01-01": {
        "!location": "string",
        "tags": _TAGS,
        "properties": {
            "-defaultDomain": "string",
            "appLogsConfiguration": {"destination": ["azure-monitor", "log-analytics", "none"]},
            "zoneRedundant": "bool",
        },
    },
    "Microsoft.App/containerApps@2025-01-01": {
        "!location": "string",
        "tags": _TAGS,
        "identity": {
            "!type": ["None", "SystemAssigned", "UserAssigned"],
            "userAssignedIdentities": {"*": "any"},
        },
        "properties": {
            "environmentId": "string",
            "configuration": {
                "activeRevisionsMode": ["Multiple", "Single"],
                "ingress": {
                    "-fqdn": "string",
                    "allowInsecure": "bool",
                    "external": "bool",
                    "stickySessions": {"affinity": ["none", "sticky"]},
                    "targetPort": "int",
                    "transport": ["auto", "http", "http2", "tcp"],
                },
                "registries": [{"identity": "string", "server": "string"}],
            },
            "template": {
                "containers": [
                    {
                        "args": ["string"],
                        "command": ["string"],
                        "env": [{"name": "string", "value": "string", "secretRef": "string"}],
                        "image": "string",
                        "name": "string",
                        "probes": [
                            {
                                "failureThreshold": "int",
                                "httpGet": {"path": "string", "!port": "int"},
                                "initialDelaySeconds": "int",
                                "periodSeconds": "int",
                                "timeoutSeconds": "int",
                                "type": ["Liveness", "Readiness", "Startup"],
                            }
                        ],
                        "resources": {"cpu": "int", "memory": "string"},
                        "volumeMounts": [{"mountPath": "string", "volumeName": "string"}],
                    }
                ],
                "scale": {
                    "maxReplicas": "int",
                    "minReplicas": "int",
                    "rules": [{"name": "string", "http": {"metadata": {"*": "string"}}}],
                },
                "terminationGracePeriodSeconds": "int",
                "volumes": [{"name": "string", "storageType": ["AzureFile", "EmptyDir", "NfsAzureFile", "Secret"]}],
            },
        },
    },
    "Microsoft.App/containerApps/authConfigs@2025-01-01": {
        "properties": {
            "platform": {"enabled": "bool"},
            "globalValidation": {
                "excludedPaths": ["string"],
                "unauthenticatedClientAction": ["AllowAnonymous", "RedirectToLoginPage", "Return401", "Return403"],
            },
            "httpSettings": {"requireHttps": "bool"},
            "identityProviders": {
                "azureActiveDirectory": {
                    "enabled": "bool",
                    "registration": {"clientId": "string", "openIdIssuer": "string"},
                    "validation": {
                        "allowedAudiences": ["string"],
                        "defaultAuthorizationPolicy": {
                            "allowedApplications": ["string"],
                            "allowedPrincipals": {"groups": ["string"], "identities": ["string"]},
                        },
                    },
                }
            },
        },
    },
}


def outline(name: str, text: dict[str, Any]) -> Fields:
    """The shape of a resource's body."""
    kind, _, version = name.partition("@")
    common = {"-id": "string", "!name": "string", "-type": "string", "-apiVersion": "string"}
    shape = _shape(kind, {**common, **text})
    assert isinstance(shape, Fields) and version
    return shape


_PLAIN: dict[str, Shape] = {"string": STRING, "int": INT, "bool": BOOL, "any": ANYTHING}


def _shape(name: str, text: object) -> Shape:
    if isinstance(text, str):
        return _PLAIN[text]
    if isinstance(text, list):
        items = cast("list[object]", text)
        if len(items) > 1:
            return Scalar("string", frozenset(str(one) for one in items))
        return Many(_later(name, items[0]))
    pairs = cast("dict[str, object]", text)
    fields = {
        key.lstrip("!-"): Field(_later(f"{name}.{key.lstrip('!-')}", value), key.startswith("!"), key.startswith("-"))
        for key, value in pairs.items()
        if key != "*"
    }
    return Fields(name, fields, _later(name, pairs["*"]) if "*" in pairs else None)


def _later(name: str, text: object) -> Callable[[], Shape]:
    return lambda: _shape(name, text)
