"""power-cut"""
