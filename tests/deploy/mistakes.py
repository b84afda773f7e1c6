"""Mistakes in our own Bicep, each with what the checker must say of it."""

from __future__ import annotations

from dataclasses import dataclass

MAIN, FOUNDRY, REGISTRY, LINKS = (
    "main.bicep",
    "modules/foundry.bicep",
    "modules/registry.bicep",
    "modules/connections.bicep",
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One change to our Bicep, and what must be said about it: at the line that changed, or at that of other text."""

    file: str
    right: str
    wrong: str
    said: str
    at: str = ""


LANGUAGE = {
    "a symbol": Mistake(MAIN, "name: groupName", "name: groupNam", "groupNam: unknown symbol"),
    "a symbol in a text": Mistake(MAIN, "'cr${token}'", "'cr${tokn}'", "tokn: unknown symbol"),
    "a loop's variable outside": Mistake(
        FOUNDRY, "name: projectName\n  location", "name: model.name\n  location", "model: unknown symbol"
    ),
    "a function": Mistake(MAIN, "join(", "joined(", "joined: unknown function"),
    "arguments of a function": Mistake(MAIN, "split(existingProjectId, '/')", "split(existingProjectId)", "split: "),
    "a type": Mistake(MAIN, "modelDeployment[]", "modelDeploymnt[]", "modelDeploymnt: unknown type"),
    "an import": Mistake(MAIN, "{ modelDeployment }", "{ deployment }", "deployment: modules/foundry.bicep exports no"),
    "a file of an import": Mistake(MAIN, "from 'modules/foundry", "from 'modules/fondry", "no such file"),
    "an unused parameter": Mistake(
        MAIN, "networkPrefix: networkPrefix", "networkPrefix: ''", "is never used", "param networkPrefix"
    ),
    "a declaration twice": Mistake(MAIN, "var withNetwork =", "var isNew =", "isNew: declared twice"),
    "a decorator": Mistake(MAIN, "@minValue(1)", "@atLeast(1)", "@atLeast: is no decorator"),
    "batchSize without a loop": Mistake(
        FOUNDRY, "resource project ", "@batchSize(1)\nresource project ", "@batchSize: needs a loop"
    ),
    "the type of a default": Mistake(MAIN, "int = 50", "int = '50'", "'50' is not int"),
    "a default that is not allowed": Mistake(
        MAIN, "string = 'auto'", "string = 'maybe'", "'maybe' is not 'auto' | 'on' | 'off'"
    ),
    "a condition that is none": Mistake(MAIN, "if (withNetwork)", "if (location)", "string is not bool"),
    "a member of a function's result": Mistake(
        MAIN, "uniqueString(subscription().id", "uniqueString(subscription().Id", "subscription() has no 'Id'"
    ),
}
MODULES = {
    "the file of a module": Mistake(
        MAIN, "'modules/roles.bicep'", "'modules/role.bicep'", "no such file: modules/role"
    ),
    "a parameter of a module": Mistake(
        MAIN, "registryName: 'cr", "registry: 'cr", "modules/registry.bicep has no 'registry'"
    ),
    "a missing parameter of a module": Mistake(
        MAIN,
        "    readerPrincipalId: projectPrincipalId\n",
        "",
        "modules/monitoring.bicep needs 'readerPrincipalId'",
        "  params: {\n    workspaceName",
    ),
    "the type of a module's parameter": Mistake(
        MAIN, "retentionInDays: retentionInDays", "retentionInDays: location", "string is not int"
    ),
    "the items of a module's parameter": Mistake(
        MAIN, "zoneIds: network!.outputs.zoneIds", "zoneIds: [1]", "int is not string"
    ),
    "a field of a module's parameter": Mistake(
        MAIN, "          sku: modelSkuName", "          tier: modelSkuName", "modelDeployment has no 'tier'"
    ),
    "a missing field of a module's parameter": Mistake(
        MAIN,
        "          version: modelVersion\n",
        "",
        "modelDeployment needs 'version'",
        "{\n          name: modelDeploymentName",
    ),
    "an output of a module": Mistake(
        MAIN, "foundry!.outputs.projectId ", "foundry!.outputs.projectid ", "has no 'projectid'"
    ),
    "an output that a module lost": Mistake(
        REGISTRY, "output loginServer string", "output server string", "has no 'loginServer'", "main.bicep"
    ),
    "the type of an output": Mistake(
        MAIN, "MODEL_DEPLOYMENT_NAME string", "MODEL_DEPLOYMENT_NAME int", "string is not int"
    ),
    "the scope of a module": Mistake(
        MAIN, "  name: 'network'\n  scope: group\n", "  name: 'network'\n", "network: needs a scope", "module network"
    ),
}
RESOURCES = {
    "a resource type": Mistake(
        FOUNDRY, "accounts/projects@", "accounts/project@", "unknown type Microsoft.CognitiveServices/accounts/project@"
    ),
    "an API version": Mistake(
        FOUNDRY,
        "/deployments@2025-06-01",
        "/deployments@2024-06-01",
        "known are ['microsoft.cognitiveservices/accounts/deployments@2025-04-01-preview'",
    ),
    "a property": Mistake(
        FOUNDRY, "disableLocalAuth: true", "disableLocalAuths: true", "AccountProperties has no 'disableLocalAuths'"
    ),
    "the case of a property": Mistake(
        "modules/monitoring.bicep", "Application_Type:", "application_Type:", "has no 'application_Type'"
    ),
    "a property of another API version": Mistake(
        REGISTRY,
        "registries@2025-11-01",
        "registries@2023-07-01",
        "Policies has no 'azureADAuthenticationAsArmPolicy'",
        "      azureADAuthenticationAsArmPolicy",
    ),
    "a read-only property": Mistake(
        REGISTRY,
        "adminUserEnabled: false",
        "loginServer: 'x'\n    adminUserEnabled: false",
        "loginServer is read-only",
    ),
    "a required property": Mistake(
        REGISTRY,
        "  sku: {\n    name: 'Basic'\n  }\n",
        "",
        "Microsoft.ContainerRegistry/registries needs 'sku'",
        "resource registry",
    ),
    "an enumeration": Mistake(FOUNDRY, "type: 'SystemAssigned'", "type: 'System'", "'System' is not 'None' |"),
    "the case of an open enumeration": Mistake(FOUNDRY, "'Enabled'", "'enabled'", "'enabled' is not 'Enabled' |"),
    "a value of another kind": Mistake(FOUNDRY, "disableLocalAuth: true", "disableLocalAuth: 'true'", "is not bool"),
    "a text for a list": Mistake(FOUNDRY, "ipRules: []", "ipRules: 'any'", "'any' is not array"),
    "a variant": Mistake(LINKS, "authType: 'ApiKey'", "authType: 'Key'", "'Key' is not 'AAD' |"),
    "a property of another variant": Mistake(
        LINKS, "      key: applicationInsights", "      clientId: applicationInsights", "has no 'clientId'"
    ),
    "a property that is read": Mistake(
        LINKS, "registry!.properties.loginServer", "registry!.loginServer", "loginServer"
    ),
    "a nested property that is read": Mistake(
        LINKS, "properties.ConnectionString", "properties.connectionString", "has no 'connectionString'"
    ),
    "the parent": Mistake(
        FOUNDRY,
        "  parent: account\n  name: projectName",
        "  parent: deployments\n  name: projectName",
        "deployments: cannot be the parent of a Microsoft.CognitiveServices/accounts/projects",
    ),
    "no parent": Mistake(
        FOUNDRY,
        "  parent: account\n  name: projectName",
        "  name: projectName",
        "project: needs a parent of type Microsoft.CognitiveServices/accounts",
        "resource project",
    ),
    "a dependency on a variable": Mistake(FOUNDRY, "    deployments\n  ]", "    isPrivate\n  ]", "bool is not object"),
    "a body for what exists": Mistake(
        "modules/roles.bicep",
        "  name: accountName\n",
        "  name: accountName\n  kind: 'AIServices'\n",
        "an existing resource has no 'kind'",
    ),
    "a resource in the wrong scope": Mistake(
        MAIN, "targetScope = 'subscription'", "targetScope = 'tenant'", "cannot be in a tenant", "resource group '"
    ),
}
