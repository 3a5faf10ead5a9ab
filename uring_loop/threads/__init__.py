"""Event loops in threads of their own, and servers spread over them."""
