// A network with a PostgreSQL server that only this network reaches and only Microsoft Entra identities may use.
@description('The beginning of the names.')
param name string
param location string

@description('Must be unique in Azure.')
param serverName string

@description('The identity that owns the tables: the managed identity of the app.')
param ownerName string
param ownerPrincipalId string

@description('A /16 to a /22, that no network has which is connected to this one.')
param networkPrefix string

@description('Whether a second server in another zone takes over when the first one fails; needs a general purpose size.')
param isHighlyAvailable bool
param skuName string
param skuTier string

var databaseName = 'agents'

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'vnet-${name}'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        networkPrefix
      ]
    }
    subnets: [
      {
        name: 'apps'
        properties: {
          addressPrefix: cidrSubnet(networkPrefix, 24, 0)
          delegations: [
            {
              name: 'apps'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'database'
        properties: {
          addressPrefix: cidrSubnet(networkPrefix, 24, 1)
          delegations: [
            {
              name: 'database'
              properties: {
                serviceName: 'Microsoft.DBforPostgreSQL/flexibleServers'
              }
            }
          ]
        }
      }
    ]
  }
}

// The zone must not be named like the server.
resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: '${name}.private.postgres.database.azure.com'
  location: 'global'
}

resource zoneLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: network.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: serverName
  location: location
  sku: {
    name: skuName
    tier: skuTier
  }
  properties: {
    version: '17'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: subscription().tenantId
    }
    network: {
      delegatedSubnetResourceId: '${network.id}/subnets/database'
      privateDnsZoneArmResourceId: zone.id
      publicNetworkAccess: 'Disabled'
    }
    storage: {
      storageSizeGB: 128
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 14
    }
    highAvailability: {
      mode: isHighlyAvailable ? 'ZoneRedundant' : 'Disabled'
    }
  }
  dependsOn: [
    zoneLink
  ]
}

resource owner 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: ownerPrincipalId
  properties: {
    principalName: ownerName
    principalType: 'ServicePrincipal'
    tenantId: subscription().tenantId
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {
  parent: server
  name: databaseName
  properties: {
    charset: 'UTF8'
  }
  dependsOn: [
    owner // One change of the server at a time.
  ]
}

output appSubnetId string = '${network.id}/subnets/apps'

@description('Without a password: the app gets a token for its identity.')
output dsn string = 'postgresql://${ownerName}@${server.properties.fullyQualifiedDomainName}:5432/${database.name}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt'
