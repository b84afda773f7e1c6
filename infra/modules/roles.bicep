// Who may do what in a new project. Owner and Contributor of the subscription may not deploy an agent by themselves.
param accountName string
param projectName string

@description('The managed identity of the project.')
param projectPrincipalId string

@description('Who deploys agents. Empty grants nobody anything.')
param deployerPrincipalId string = ''
param deployerPrincipalType string = 'User'

var userRoleId = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '53ca6127-db72-4b80-b1b0-d745d6d5456d' // Foundry User
)
var projectManagerRoleId = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'eadc314b-1a2d-4efa-be10-5d325db5065e' // Foundry Project Manager
)

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-06-01' existing = {
  parent: account
  name: projectName
}

resource projectUsesAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, projectPrincipalId, userRoleId)
  scope: account
  properties: {
    principalId: projectPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: userRoleId
  }
}

resource deployerIsManager 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  name: guid(project.id, deployerPrincipalId, projectManagerRoleId)
  scope: project
  properties: {
    principalId: deployerPrincipalId
    principalType: deployerPrincipalType
    roleDefinitionId: projectManagerRoleId
  }
}
