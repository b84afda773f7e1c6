// The connections of the project: to the registry, to Application Insights, and to whatever else was asked for.
// One after the other, because they change the same project. The type is a preview: 2025-06-01 fails when deployed,
// with MissingApiVersionParameter.
param accountName string
param projectName string

@description('The managed identity of the project: it pulls images.')
param projectPrincipalId string

@description('The registry and Application Insights; empty for none.')
param registryName string = ''
param applicationInsightsName string = ''

@description('Where these two are.')
param resourceSubscriptionId string = subscription().subscriptionId
param resourceGroupName string = resourceGroup().name

@export()
@description('A connection of the project. Its secrets, if it has any, stand in connectionCredentials under its name.')
type projectConnection = {
  @minLength(3)
  @maxLength(33)
  name: string
  @description('For example CognitiveSearch, RemoteTool or CustomKeys.')
  category: string
  target: string
  @description('AAD uses the managed identity of the project; ApiKey and CustomKeys need credentials.')
  authType: 'AAD' | 'ApiKey' | 'CustomKeys' | 'None'
  metadata: object?
}

param connections projectConnection[] = []

@secure()
param connectionCredentials object = {}

var hasRegistry = !empty(registryName)
var hasInsights = !empty(applicationInsightsName)

resource account 'Microsoft.CognitiveServices/accounts@2025-04-01-preview' existing = {
  name: accountName
}

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-04-01-preview' existing = {
  parent: account
  name: projectName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = if (hasRegistry) {
  name: registryName
  scope: resourceGroup(resourceSubscriptionId, resourceGroupName)
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = if (hasInsights) {
  name: applicationInsightsName
  scope: resourceGroup(resourceSubscriptionId, resourceGroupName)
}

resource toRegistry 'Microsoft.CognitiveServices/accounts/projects/connections@2025-04-01-preview' = if (hasRegistry) {
  parent: project
  name: '${registryName}-conn'
  properties: {
    category: 'ContainerRegistry'
    target: registry!.properties.loginServer
    authType: 'ManagedIdentity'
    isSharedToAll: true
    credentials: {
      clientId: projectPrincipalId
      resourceId: registry!.id
    }
    metadata: {
      ResourceId: registry!.id
    }
  }
}

// Without it the platform tells no agent where telemetry goes. Its one form of authentication is the connection string.
resource toInsights 'Microsoft.CognitiveServices/accounts/projects/connections@2025-04-01-preview' = if (hasInsights) {
  parent: project
  name: '${applicationInsightsName}-conn'
  properties: {
    category: 'AppInsights'
    target: applicationInsights!.id
    authType: 'ApiKey'
    isSharedToAll: true
    credentials: {
      key: applicationInsights!.properties.ConnectionString
    }
    metadata: {
      ApiType: 'Azure'
      ResourceId: applicationInsights!.id
    }
  }
  dependsOn: [
    toRegistry
  ]
}

@batchSize(1)
resource keyless 'Microsoft.CognitiveServices/accounts/projects/connections@2025-04-01-preview' = [
  for connection in connections: if (!contains(connectionCredentials, connection.name)) {
    parent: project
    name: connection.name
    properties: {
      category: connection.category
      target: connection.target
      authType: any(connection.authType)
      isSharedToAll: true
      metadata: connection.?metadata ?? {}
    }
    dependsOn: [
      toInsights
    ]
  }
]

@batchSize(1)
resource keyed 'Microsoft.CognitiveServices/accounts/projects/connections@2025-04-01-preview' = [
  for connection in connections: if (contains(connectionCredentials, connection.name)) {
    parent: project
    name: connection.name
    properties: {
      category: connection.category
      target: connection.target
      authType: any(connection.authType)
      isSharedToAll: true
      credentials: connectionCredentials[connection.name]
      metadata: connection.?metadata ?? {}
    }
    dependsOn: [
      keyless
    ]
  }
]

output registryConnectionName string = hasRegistry ? toRegistry!.name : ''
output connectionNames string[] = [for connection in connections: connection.name]
