"""Tables, pictures and progress: functions of plain numbers, that import no other room."""
