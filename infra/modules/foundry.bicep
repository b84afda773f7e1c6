// A new Foundry account with its models and one project. Only managed identities get in: there are no account keys.
param accountName string
param projectName string
param location string
param tags object

@description('The subnet that agents run in. Empty leaves the account public.')
param agentSubnetId string = ''

@export()
@description('A model and the name under which it is called.')
type modelDeployment = {
  name: string
  @description('OpenAI unless said otherwise.')
  format: string?
  model: string
  version: string
  @description('GlobalStandard unless said otherwise.')
  sku: string?
  @minValue(1)
  capacity: int
}

param models modelDeployment[]

var isPrivate = !empty(agentSubnetId)

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: accountName
  location: location
  tags: tags
  kind: 'AIServices'
  sku: {
    name: 'S0'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    // Projects need both of these.
    allowProjectManagement: true
    customSubDomainName: accountName
    disableLocalAuth: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
      virtualNetworkRules: []
      ipRules: []
    }
    networkInjections: isPrivate
      ? [
          {
            scenario: 'agent'
            subnetArmId: agentSubnetId
            useMicrosoftManagedNetwork: false
          }
        ]
      : null
  }
}

// One after the other: an account refuses to be changed twice at once.
@batchSize(1)
resource deployments 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = [
  for model in models: {
    parent: account
    name: model.name
    sku: {
      name: model.?sku ?? 'GlobalStandard'
      capacity: model.capacity
    }
    properties: {
      model: {
        format: model.?format ?? 'OpenAI'
        name: model.model
        version: empty(model.version) ? null : model.version
      }
    }
  }
]

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-06-01' = {
  parent: account
  name: projectName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    displayName: projectName
    description: 'Hosted agents'
  }
  dependsOn: [
    deployments
  ]
}

output accountId string = account.id
output accountName string = account.name
output accountPrincipalId string = account.identity.principalId
output projectId string = project.id
output projectName string = project.name
output projectPrincipalId string = project.identity.principalId
output projectEndpoint string = 'https://${account.name}.services.ai.azure.com/api/projects/${project.name}'
output openAiEndpoint string = 'https://${account.name}.openai.azure.com/'
