"""What a network costs, as figures, tables and documents."""
