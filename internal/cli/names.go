package cli

// Names of the operator's own objects and of what it makes for an organisation.
const (
	systemNamespace     = "heddle-system"
	operatorName        = "heddle-operator"
	clusterRoleNetwork  = "heddle-operator-network"
	roleBindingOperator = "heddle-operator"
	operatorRepository  = "heddle.dev/heddle-operator"
	builderRepository   = "heddle.dev/heddle-builder"
)
