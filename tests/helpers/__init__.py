"""What several tests share: models, data, slow references and what the trainer's tests train."""
