// A Foundry project for hosted agents and what surrounds it. `azd provision` deploys it into the subscription.
// main.parameters.json says which azd variable sets which parameter; README.md lists them.
targetScope = 'subscription'

import { modelDeployment } from 'modules/foundry.bicep'
import { projectConnection } from 'modules/connections.bicep'

@description('The azd environment. Names and tags derive from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('The region. It must offer hosted agents and have quota for the model.')
@metadata({
  azd: {
    type: 'location'
    usageName: [
      'OpenAI.GlobalStandard.gpt-5.4-mini,50'
    ]
  }
})
param location string

@description('The resource group; rg-<environmentName> when empty.')
param resourceGroupName string = ''

@description('The name of the new project.')
@minLength(3)
@maxLength(32)
param foundryProjectName string = 'agents'

@description('The ARM id of a Foundry project that exists. Its account, models, network and roles stay as they are.')
param existingProjectId string = ''

@description('Who deploys: the object id of a user, a group or a service principal. Empty grants nobody anything.')
param principalId string = ''

@description('What principalId is.')
@allowed([
  'User'
  'ServicePrincipal'
  'Group'
])
param principalType string = 'User'

@description('The name under which the agent calls its model.')
param modelDeploymentName string = 'gpt-5.4-mini'

@description('The model.')
param modelName string = 'gpt-5.4-mini'

@description('The version of the model.')
param modelVersion string = '2026-03-17'

@description('How the model is deployed.')
param modelSkuName string = 'GlobalStandard'

@description('Thousands of tokens per minute.')
@minValue(1)
param modelCapacity int = 50

@description('Models beside the first one.')
param additionalModels modelDeployment[] = []

@description('Connections of the project beside those to the registry and to Application Insights.')
param connections projectConnection[] = []

@description('Credentials by the name of their connection: { "search": { "key": "..." } }.')
@secure()
param connectionCredentials object = {}

@description('Whether there is a container registry. Code deployment needs none.')
param includeRegistry bool = true

@description('Whether the identity of the Foundry account may pull images too, beside that of the project.')
param accountPullsImages bool = false

@description('Log Analytics and Application Insights; auto: on for a new project, off for one that exists.')
@allowed([
  'auto'
  'on'
  'off'
])
param monitoring string = 'auto'

@description('Days that telemetry is kept.')
@minValue(30)
@maxValue(730)
param retentionInDays int = 30

@description('Whether a new project is reachable from a virtual network only. The registry stays public, without keys.')
param privateNetworking bool = false

@description('The address range of the virtual network: a /16 to a /22.')
param networkPrefix string = '10.42.0.0/16'

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

var isNew = empty(existingProjectId)
var withMonitoring = monitoring == 'on' || (monitoring == 'auto' && isNew)
var withNetwork = privateNetworking && isNew
var networkName = 'vnet-${token}'
// Texts that are known before the deployment, which preflight needs; outputs of the network are not.
var networkId = '${subscription().id}/resourceGroups/${groupName}/providers/Microsoft.Network/virtualNetworks/${networkName}'
var subnets = '${networkId}/subnets'
var groupName = empty(resourceGroupName) ? 'rg-${environmentName}' : resourceGroupName

// /subscriptions/2/resourceGroups/4/providers/6/accounts/8/projects/10
var idParts = split(existingProjectId, '/')
var projectSubscriptionId = isNew ? subscription().subscriptionId : idParts[2]
var projectGroupName = isNew ? groupName : idParts[4]

resource group 'Microsoft.Resources/resourceGroups@2021-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module network 'modules/network.bicep' = if (withNetwork) {
  name: 'network'
  scope: group
  params: {
    networkName: networkName
    networkPrefix: networkPrefix
    location: location
    tags: tags
  }
}

module foundry 'modules/foundry.bicep' = if (isNew) {
  name: 'foundry'
  scope: group
  params: {
    accountName: 'foundry-${token}'
    projectName: foundryProjectName
    location: location
    tags: tags
    agentSubnetId: withNetwork ? '${subnets}/agents' : ''
    models: concat(
      [
        {
          name: modelDeploymentName
          model: modelName
          version: modelVersion
          sku: modelSkuName
          capacity: modelCapacity
        }
      ],
      additionalModels
    )
  }
  dependsOn: [network]
}

module given 'modules/existing.bicep' = if (!isNew) {
  name: 'existing-project'
  scope: resourceGroup(projectSubscriptionId, projectGroupName)
  params: {
    accountName: isNew ? 'none' : idParts[8]
    projectName: isNew ? 'none' : idParts[10]
  }
}

var accountName = isNew ? foundry!.outputs.accountName : given!.outputs.accountName
var accountPrincipalId = isNew ? foundry!.outputs.accountPrincipalId : given!.outputs.accountPrincipalId
var projectName = isNew ? foundry!.outputs.projectName : given!.outputs.projectName
var projectPrincipalId = isNew ? foundry!.outputs.projectPrincipalId : given!.outputs.projectPrincipalId

module endpoint 'modules/private-endpoint.bicep' = if (withNetwork) {
  name: 'foundry-endpoint'
  scope: group
  params: {
    endpointName: 'pe-foundry-${token}'
    targetId: foundry!.outputs.accountId
    targetGroup: 'account'
    subnetId: '${subnets}/endpoints'
    zoneIds: network!.outputs.zoneIds
    location: location
    tags: tags
  }
}

module registry 'modules/registry.bicep' = if (includeRegistry) {
  name: 'registry'
  scope: group
  params: {
    registryName: 'cr${token}'
    location: location
    tags: tags
    pullerPrincipalIds: union([projectPrincipalId], accountPullsImages ? [accountPrincipalId] : [])
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
  }
}

module telemetry 'modules/monitoring.bicep' = if (withMonitoring) {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    applicationInsightsName: 'appi-${token}'
    retentionInDays: retentionInDays
    location: location
    tags: tags
    readerPrincipalId: projectPrincipalId
  }
}

module roles 'modules/roles.bicep' = if (isNew) {
  name: 'roles'
  scope: group
  params: {
    accountName: accountName
    projectName: projectName
    projectPrincipalId: projectPrincipalId
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
  }
}

module links 'modules/connections.bicep' = {
  name: 'connections'
  scope: resourceGroup(projectSubscriptionId, projectGroupName)
  params: {
    accountName: accountName
    projectName: projectName
    projectPrincipalId: projectPrincipalId
    registryName: includeRegistry ? registry!.outputs.registryName : ''
    applicationInsightsName: withMonitoring ? telemetry!.outputs.applicationInsightsName : ''
    resourceSubscriptionId: subscription().subscriptionId
    resourceGroupName: group.name
    connections: connections
    connectionCredentials: connectionCredentials
  }
}

// What azd and the agent's own settings read. A variable that is also a parameter comes out as it went in.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_AI_ACCOUNT_NAME string = accountName
output AZURE_AI_PROJECT_NAME string = projectName
output AZURE_AI_PROJECT_ID string = isNew ? foundry!.outputs.projectId : given!.outputs.projectId
output FOUNDRY_PROJECT_ENDPOINT string = isNew ? foundry!.outputs.projectEndpoint : given!.outputs.projectEndpoint
output AZURE_OPENAI_ENDPOINT string = isNew ? foundry!.outputs.openAiEndpoint : given!.outputs.openAiEndpoint
output AZURE_AI_MODEL_DEPLOYMENT_NAME string = modelDeploymentName
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = includeRegistry ? registry!.outputs.loginServer : ''
output AZURE_CONTAINER_REGISTRY_RESOURCE_ID string = includeRegistry ? registry!.outputs.registryId : ''
output AZURE_AI_PROJECT_ACR_CONNECTION_NAME string = links.outputs.registryConnectionName
output AZURE_AI_PROJECT_CONNECTION_NAMES string = join(links.outputs.connectionNames, ',')
output AZURE_FOUNDRY_NETWORK_MODE string = withNetwork ? 'byo' : 'none'
output AZURE_FOUNDRY_MANAGED_ISOLATION_MODE string = ''
output APPLICATIONINSIGHTS_NAME string = withMonitoring ? telemetry!.outputs.applicationInsightsName : ''
