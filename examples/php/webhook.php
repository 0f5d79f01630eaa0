<?php

declare(strict_types=1);

// Receives webhooks, checks their signature, and writes the dialogue to the log.
//
//     WEBHOOK_SECRET=whsec_... php -S 127.0.0.1:9000 webhook.php
//
// If it answers with an error, the service sends the event again later. So it answers after its work is done.

require __DIR__ . '/callscribe.php';

defined('STDERR') || define('STDERR', fopen('php://stderr', 'w')); // only the command line has it

$body = file_get_contents('php://input');
$genuine = verify(
    setting('WEBHOOK_SECRET'),
    $_SERVER['HTTP_WEBHOOK_ID'] ?? '',
    $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '',
    $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '',
    $body,
    time(),
);
if (setting('WEBHOOK_SECRET') === '' || !$genuine) {
    http_response_code(401);
    exit;
}

$job = json_decode($body, true, flags: JSON_THROW_ON_ERROR)['data'];
if ($job['status'] !== 'completed') {
    fwrite(STDERR, "{$job['external_id']}: the transcription is {$job['status']}: " . ($job['error']['message'] ?? '') . "\n");
} else {
    foreach (send('GET', url_of($job['links']['transcript']))['turns'] as $turn) {
        fwrite(STDERR, sprintf("[%s] %s: %s\n", gmdate('i:s', (int) $turn['start']), $turn['speaker'] ?? 'Unknown', $turn['text']));
    }
}
http_response_code(204);
