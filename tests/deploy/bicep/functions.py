"""Bicep's built-in functions and decorators: how many arguments they take, and what they give."""

from __future__ import annotations

from dataclasses import dataclass

from tests.deploy.bicep.shapes import ANYTHING, ARRAY, BOOL, INT, OBJECT, STRING, Shape, many, record

MANY = 99


@dataclass(frozen=True, slots=True)
class Function:
    least: int
    most: int
    gives: Shape = ANYTHING


GROUP = record("resourceGroup()", id=STRING, name=STRING, location=STRING, tags=OBJECT, type=STRING, properties=OBJECT)
SUBSCRIPTION = record(
    "subscription()", id=STRING, subscriptionId=STRING, tenantId=STRING, displayName=STRING, tags=OBJECT
)
SUFFIXES = record(
    "environment().suffixes",
    acrLoginServer=STRING,
    keyvaultDns=STRING,
    sqlServerHostname=STRING,
    storage=STRING,
)
ENVIRONMENT = record(
    "environment()",
    name=STRING,
    resourceManager=STRING,
    portal=STRING,
    authentication=record("authentication", audiences=many(STRING), loginEndpoint=STRING, tenant=STRING),
    suffixes=SUFFIXES,
)

FUNCTIONS: dict[str, Function] = {
    **{name: Function(1, 1, STRING) for name in ("toLower", "toUpper", "trim", "string", "base64", "base64ToString")},
    **{name: Function(1, MANY, STRING) for name in ("uniqueString", "guid", "format")},
    **{name: Function(2, MANY, STRING) for name in ("resourceId", "subscriptionResourceId", "tenantResourceId")},
    **{name: Function(1, 1, INT) for name in ("length", "int")},
    **{name: Function(2, 2, BOOL) for name in ("contains", "startsWith", "endsWith")},
    **{name: Function(1, 1, ANYTHING) for name in ("any", "json", "first", "last", "min", "max", "nonNull")},
    **{name: Function(1, 1, ARRAY) for name in ("items", "objectKeys", "flatten")},
    **{name: Function(2, 2, ARRAY) for name in ("map", "filter", "sort", "skip", "take", "intersection")},
    **{name: Function(0, 1, SUBSCRIPTION) for name in ("subscription",)},
    **{name: Function(0, 1, ANYTHING) for name in ("managementGroup", "tenant")},
    "array": Function(1, 1, ARRAY),
    "bool": Function(1, 1, BOOL),
    "cidrSubnet": Function(3, 3, STRING),
    "concat": Function(1, MANY),
    "deployment": Function(0, 0),
    "deployer": Function(0, 0),
    "empty": Function(1, 1, BOOL),
    "environment": Function(0, 0, ENVIRONMENT),
    "extensionResourceId": Function(3, MANY, STRING),
    "indexOf": Function(2, 2, INT),
    "join": Function(2, 2, STRING),
    "newGuid": Function(0, 0, STRING),
    "padLeft": Function(2, 3, STRING),
    "range": Function(2, 2, many(INT)),
    "reduce": Function(3, 3),
    "replace": Function(3, 3, STRING),
    "resourceGroup": Function(0, 2, GROUP),
    "split": Function(2, 2, many(STRING)),
    "substring": Function(2, 3, STRING),
    "toObject": Function(2, 3, OBJECT),
    "union": Function(2, MANY),
    "uri": Function(2, 2, STRING),
    "utcNow": Function(0, 1, STRING),
}

ONLY_AS_DEFAULT = ("newGuid", "utcNow")
"""Allowed in the default of a parameter and nowhere else."""

NAMESPACES = ("az", "sys")

DECORATORS: dict[str, tuple[str, ...]] = {
    "allowed": ("param",),
    "batchSize": ("resource", "module"),
    "description": ("param", "var", "resource", "module", "output", "type", "func"),
    "export": ("type", "var", "func"),
    "maxLength": ("param", "output", "type"),
    "maxValue": ("param", "output", "type"),
    "metadata": ("param", "output", "type"),
    "minLength": ("param", "output", "type"),
    "minValue": ("param", "output", "type"),
    "sealed": ("param", "output", "type"),
    "secure": ("param", "output", "type"),
}
"""Decorator to the kinds of declarations that may have it."""
