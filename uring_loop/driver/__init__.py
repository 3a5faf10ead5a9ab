"""The driver floor: rings, operations, buffer pools, and the choice of the driver."""
