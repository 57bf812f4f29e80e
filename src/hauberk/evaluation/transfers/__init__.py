"""The question of transfer runs: which points, crafted on one model, break which others?"""
