"""The shapes of Azure's resources, from the JSON that Microsoft generates for its own compiler, or from outlines.

A file of JSON is a list; `{"$ref": "#/7"}` is its eighth element. Flags of a property: 1 required, 2 read-only.

The outlines are of types without data at hand, as far as we use them, and of what functions give. Written by hand, they
show a typing error or a property in the wrong place, not that Azure agrees. A line has paths of properties, behind the
indented path that they share, with their types: `int`, `bool`, `any`, an enumeration, or `string` where none is named.
`[]` is a list, `{}` a map, `!` required and `-` read-only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.deploy.bicep.shapes import ANYTHING, BOOL, INT, STRING, Shape, array, literals

SCOPES = {"tenant": 1, "managementGroup": 2, "subscription": 4, "resourceGroup": 8, "resource": 16}
_OUTLINES = """
Microsoft.Network/virtualNetworks@2024-05-01: location, tags{}, properties.addressSpace.addressPrefixes[]
  properties.subnets[]: id-, name, properties.addressPrefix, properties.privateEndpointNetworkPolicies Disabled|Enabled
  properties.subnets[].properties.delegations[]: name, properties.serviceName
Microsoft.Network/privateEndpoints@2024-05-01: location, tags{}, properties.subnet.id
  properties.privateLinkServiceConnections[]: name, properties.privateLinkServiceId, properties.groupIds[]
Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01: properties.privateDnsZoneConfigs[].name
  properties.privateDnsZoneConfigs[]: properties.privateDnsZoneId
Microsoft.Network/privateDnsZones@2024-06-01: location!, tags{}
Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01: location!, tags{}
  properties: registrationEnabled bool, virtualNetwork.id
Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31: location!, tags{}
  properties-: clientId-, principalId-, tenantId-
Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01: location!, tags{}, sku.name!
  sku: tier! Burstable|GeneralPurpose|MemoryOptimized
  properties: version, fullyQualifiedDomainName-, storage.storageSizeGB int, storage.autoGrow Disabled|Enabled
  properties.authConfig: activeDirectoryAuth Disabled|Enabled, passwordAuth Disabled|Enabled, tenantId
  properties.network: delegatedSubnetResourceId, privateDnsZoneArmResourceId, publicNetworkAccess Disabled|Enabled
  properties: backup.backupRetentionDays int, highAvailability.mode Disabled|SameZone|ZoneRedundant
Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01: properties.principalName, properties.tenantId
  properties: principalType Group|ServicePrincipal|Unknown|User
Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01: properties.charset, properties.collation
Microsoft.App/managedEnvironments@2025-01-01: location!, tags{}, properties.zoneRedundant bool
  properties.vnetConfiguration: infrastructureSubnetId, internal bool
  properties.workloadProfiles[]: name!, workloadProfileType!
Microsoft.App/containerApps@2025-01-01: location!, tags{}, properties.environmentId, properties.workloadProfileName
  identity: type! None|SystemAssigned|UserAssigned, userAssignedIdentities{} any
  properties.configuration: activeRevisionsMode Multiple|Single, registries[].identity, registries[].server
  properties.configuration.ingress: external bool, allowInsecure bool, targetPort int, transport auto|http|http2, fqdn-
  properties.template: terminationGracePeriodSeconds int, scale.minReplicas int, scale.maxReplicas int
  properties.template.scale.rules[]: name, http.metadata{}
  properties.template.containers[]: args[], image, name, env[].name, env[].value, resources.cpu int, resources.memory
  properties.template.containers[].probes[]: type Liveness|Readiness|Startup, httpGet.path, httpGet.port! int
  properties.template.containers[].probes[]: failureThreshold int, periodSeconds int, timeoutSeconds int
Microsoft.App/containerApps/authConfigs@2025-01-01: properties.platform.enabled bool
  properties: httpSettings.requireHttps bool, globalValidation.unauthenticatedClientAction AllowAnonymous|Return401
  properties.identityProviders.azureActiveDirectory: enabled bool, registration.clientId, registration.openIdIssuer
  properties.identityProviders.azureActiveDirectory: validation.allowedAudiences[]
resourceGroup(): id, name, location, tags{}
subscription(): id, subscriptionId, tenantId, displayName
environment(): name, authentication.loginEndpoint, suffixes.acrLoginServer
"""
_TYPES = {"": STRING, "int": INT, "bool": BOOL, "any": ANYTHING}
_KINDS = {"stringliteral": "string", "integer": "int", "boolean": "bool", "union": "either"}


class ResourceTypes:
    """The `bodies` of resources by `namespace/type@version` in lower case; without a folder, those of outlines only."""

    def __init__(self, folder: Path | None) -> None:
        self.is_complete = folder is not None
        self.bodies = {name.lower(): body for name, body in outlines().items()}
        for path in folder.glob("*.json") if folder else ():
            self.bodies |= {name.lower(): body for name, body in _resources(json.loads(path.read_text()))}


def outlines() -> dict[str, Shape]:
    """The shapes in the outlines, by the name of the type or the function."""
    found, outer = dict[str, Shape](), ANYTHING
    for line in _OUTLINES.strip().splitlines():
        path, _, fields = line.partition(": ")
        if not line.startswith(" "):
            outer = found[path] = Shape("object", path.partition("@")[0], scopes=SCOPES["resourceGroup"])
            path, fields = "", f"{fields}, id-, name!, type-, apiVersion-" if "@" in path else fields
        for text in fields.split(", "):
            names, _, type = f"{path}.{text}".strip(" .").partition(" ")
            *steps, last = names.split(".")
            inner = outer
            for step in steps:
                inner = _field(inner, step, Shape("object", step))
            _field(inner, last, _TYPES.get(type) or literals(*type.split("|")))
    return found


def _field(of: Shape, step: str, shape: Shape) -> Shape:
    """What a step of a path leads to: `shape`, unless something is there."""
    name = step.rstrip("[]{}!-")
    if name not in of.fields:
        of.fields[name] = array(shape) if "[]" in step else Shape("object", item=shape) if "{}" in step else shape
        of.required |= {name} if "!" in step else set()
        of.read_only |= {name} if "-" in step else set()
    return of.fields[name].item or of.fields[name]


def _resources(elements: list[dict[str, Any]]) -> Iterator[tuple[str, Shape]]:
    kinds: list[str] = [one["$type"].removesuffix("Type").lower() for one in elements]
    shapes = [Shape(_KINDS.get(kind, kind), one.get("name", "")) for kind, one in zip(kinds, elements, strict=True)]

    def at(reference: dict[str, str]) -> Shape:
        return shapes[int(reference["$ref"].removeprefix("#/"))]

    for shape, element in zip(shapes, elements, strict=True):
        properties: dict[str, Any] = element.get("properties") or element.get("baseProperties") or {}
        shape.fields = {key: at(one["type"]) for key, one in properties.items()}
        shape.required = {key for key, one in properties.items() if one["flags"] & 1}
        shape.read_only = {key for key, one in properties.items() if one["flags"] & 2}
        item = element.get("itemType") or element.get("additionalProperties")
        shape.item = at(item) if item else ANYTHING if shape.kind == "any" else None
        shape.value = element.get("value")
        shape.options = tuple(at(one) for one in element["elements"]) if shape.kind == "either" else ()
    for shape, element in zip(shapes, elements, strict=True):
        if "discriminator" in element:  # A variant has the common properties too, and an unknown one may have any.
            variants = {value: at(one) for value, one in element["elements"].items()}
            for value, one in variants.items():
                required, read_only = shape.required | one.required, shape.read_only | one.read_only
                fields = shape.fields | one.fields
                shape.variants[value] = replace(one, fields=fields, required=required, read_only=read_only)
            shape.kind, shape.discriminator = "object", element["discriminator"]
            shape.required |= {shape.discriminator}
            theirs = {key: ANYTHING for one in variants.values() for key in one.fields}
            shape.fields = theirs | shape.fields | {shape.discriminator: literals(*variants)}
        if element["$type"] == "ResourceType":
            yield element["name"], replace(at(element["body"]), scopes=element["writableScopes"])
