"""Real servers and clients under load, watched for errors and for leaks."""
