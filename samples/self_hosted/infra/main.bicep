// The image of this repository on Azure Container Apps, beside what the infra folder at its root deploys: the same
// resource group, registry and Foundry project. Callers sign in with Microsoft Entra ID; the app has one managed
// identity and no secret. Its replicas share a PostgreSQL server, which only their network reaches.
@description('The name of the app and the beginning of the other names.')
@minLength(2)
@maxLength(20)
param name string = 'agent'

param location string = resourceGroup().location

@description('The registry with the image.')
param registryName string

@description('Repository and tag in the registry.')
param image string

@description('The Foundry account and project of the model.')
param accountName string
param projectName string

param modelDeploymentName string = 'gpt-5.4-mini'

@description('Application Insights for telemetry; empty for none.')
param applicationInsightsName string = ''

@description('The app registration that callers ask a token for.')
param authClientId string

@description('The one tenant whose callers are served.')
param authTenantId string = subscription().tenantId

@description('Two stay when one fails or is replaced.')
@minValue(1)
param minReplicas int = 2

@minValue(1)
param maxReplicas int = 5

@description('A /16 to a /22, that no network has which is connected to this one.')
param networkPrefix string = '10.20.0.0/16'

@description('Of the PostgreSQL server. High availability needs a general purpose size.')
param databaseSku string = 'Standard_B2s'

@allowed([
  'Burstable'
  'GeneralPurpose'
  'MemoryOptimized'
])
param databaseTier string = 'Burstable'
param isDatabaseHighlyAvailable bool = false

var hasTelemetry = !empty(applicationInsightsName)
var port = 8088
var pullRoleId = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '7f951dda-4ed3-4680-a7ca-43fe172d538d' // AcrPull
)
var foundryUserRoleId = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '53ca6127-db72-4b80-b1b0-d745d6d5456d' // Foundry User
)

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-06-01' existing = {
  parent: account
  name: projectName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = if (hasTelemetry) {
  name: applicationInsightsName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-${name}'
  location: location
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identity.id, pullRoleId)
  scope: registry
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: pullRoleId
  }
}

// The model of the project.
resource useProject 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(project.id, identity.id, foundryUserRoleId)
  scope: project
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: foundryUserRoleId
  }
}

module database 'database.bicep' = {
  name: 'database-${name}'
  params: {
    name: name
    location: location
    serverName: 'psql-${name}-${uniqueString(resourceGroup().id, name)}'
    ownerName: identity.name
    ownerPrincipalId: identity.properties.principalId
    networkPrefix: networkPrefix
    isHighlyAvailable: isDatabaseHighlyAvailable
    skuName: databaseSku
    skuTier: databaseTier
  }
}

resource apps 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: 'cae-${name}'
  location: location
  properties: {
    vnetConfiguration: {
      infrastructureSubnetId: database.outputs.appSubnetId
      internal: false
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
  }
}

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: apps.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        targetPort: port
        transport: 'auto'
        allowInsecure: false
      }
      registries: [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
    }
    template: {
      // Turns that run may finish, and say so, before the container is killed.
      terminationGracePeriodSeconds: 60
      containers: [
        {
          name: 'agent'
          image: '${registry.properties.loginServer}/${image}'
          args: [
            'samples/self_hosted/agent.py'
          ]
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          env: concat(
            [
              {
                name: 'FOUNDRY_PROJECT_ENDPOINT'
                value: 'https://${account.name}.services.ai.azure.com/api/projects/${project.name}'
              }
              {
                name: 'AZURE_AI_MODEL_DEPLOYMENT_NAME'
                value: modelDeploymentName
              }
              {
                name: 'HOSTEDAGENT_DSN'
                value: database.outputs.dsn
              }
              {
                name: 'EASY_AUTH_TENANT_ID'
                value: authTenantId
              }
              {
                // Which of the app's identities DefaultAzureCredential takes.
                name: 'AZURE_CLIENT_ID'
                value: identity.properties.clientId
              }
            ],
            hasTelemetry
              ? [
                  {
                    name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
                    value: applicationInsights!.properties.ConnectionString
                  }
                ]
              : []
          )
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/readiness'
                port: port
              }
              periodSeconds: 3
              failureThreshold: 10
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readiness'
                port: port
              }
              periodSeconds: 5
              timeoutSeconds: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        rules: [
          {
            name: 'requests'
            http: {
              metadata: {
                concurrentRequests: '20'
              }
            }
          }
        ]
      }
    }
  }
  dependsOn: [
    pull
    useProject
  ]
}

// Without this the header that names the caller could come from the caller.
resource authentication 'Microsoft.App/containerApps/authConfigs@2025-01-01' = {
  parent: app
  name: 'current'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      unauthenticatedClientAction: 'Return401'
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: authClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${authTenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            authClientId
            'api://${authClientId}'
          ]
        }
      }
    }
  }
}

output url string = 'https://${app.properties.configuration.ingress.fqdn}'
