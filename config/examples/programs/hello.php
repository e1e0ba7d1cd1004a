<?php
header("Content-Type: text/plain");
echo "worker ", getenv("MTD_WORKER"), "\n";
