"""Networks of spiking neurons: trained on torch and snnTorch, simulated in integers with numpy alone."""
