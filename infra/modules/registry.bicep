// The registry that the agent's image is built in and pulled from. Nobody has a password for it.
@minLength(5)
@maxLength(50)
param registryName string
param location string
param tags object

@description('The managed identities that pull images.')
param pullerPrincipalIds string[]

@description('Who builds and pushes images. Empty grants nobody anything.')
param deployerPrincipalId string = ''
param deployerPrincipalType string = 'User'

var pullRoleId = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '7f951dda-4ed3-4680-a7ca-43fe172d538d' // AcrPull
)
var deployerRoleIds = [
  subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '8311e382-0749-4cb8-b61a-304f252e45ec') // AcrPush
  // Container Registry Tasks Contributor: azd builds in the registry.
  subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'fb382eab-e894-4461-af04-94435c366c3f')
]

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: registryName
  location: location
  tags: tags
  sku: {
    name: 'Basic'
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: 'Enabled'
    policies: {
      // The platform pulls with a token for Azure Resource Manager; without this it only reports an image error.
      azureADAuthenticationAsArmPolicy: {
        status: 'enabled'
      }
    }
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in pullerPrincipalIds: {
    name: guid(registry.id, principalId, pullRoleId)
    scope: registry
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: pullRoleId
    }
  }
]

resource push 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for roleId in deployerRoleIds: if (!empty(deployerPrincipalId)) {
    name: guid(registry.id, deployerPrincipalId, roleId)
    scope: registry
    properties: {
      principalId: deployerPrincipalId
      principalType: deployerPrincipalType
      roleDefinitionId: roleId
    }
  }
]

output registryId string = registry.id
output registryName string = registry.name
output loginServer string = registry.properties.loginServer
