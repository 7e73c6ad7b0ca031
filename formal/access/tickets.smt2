; Tickets: what a search lets a reader fetch from the cloud, and a revocation whose order to withdraw it may be lost.
(declare-const mutant Int)
(define-const LIFE Int 60)

(declare-datatypes ((S 0)) (((mk
  (now Int)
  (live Bool) (ends Int)      ; the grant the ticket rests on, and its own end
  (issued Bool) (expires Int) ; the ticket
  (revoked Int)               ; ghost: when the grant was revoked; -1 before
  (ordered Bool)              ; the gate has marked the ticket withdrawn, durably
  (told Bool)                 ; the cloud has the order
  (acknowledged Bool)         ; ghost: the owner was told that no ticket is left
  (fetched Bool)              ; ghost: the cloud has served the ticket in the last step
))))
(declare-datatypes ((I 0)) (((in (act Int) (x Int)))))

(define-fun init ((s S)) Bool
  (and (>= (now s) 0) (live s) (not (issued s)) (= (revoked s) (- 1)) (not (ordered s)) (not (told s)) (not (acknowledged s)) (not (fetched s))))
(define-fun tick ((s S) (i I) (t S)) Bool
  (and (> (x i) (now s)) (= t (mk (x i) (live s) (ends s) (issued s) (expires s) (revoked s) (ordered s) (told s) (acknowledged s) false))))
(define-fun issue ((s S) (i I) (t S)) Bool
  (and (not (issued s)) (or (= mutant 4) (live s)) (< (now s) (ends s))
       (= t (mk (now s) (live s) (ends s) true
                (ite (= mutant 1) (+ (now s) (* 10 LIFE)) (ite (< (ends s) (+ (now s) LIFE)) (ends s) (+ (now s) LIFE)))
                (revoked s) (ordered s) (told s) (acknowledged s) false))))
(define-fun revoke ((s S) (i I) (t S)) Bool     ; the grant goes and the mark comes in one transaction
  (and (live s) (= t (mk (now s) false (ends s) (issued s) (expires s) (now s) (issued s) (told s) (acknowledged s) false))))
(define-fun deliver ((s S) (i I) (t S)) Bool    ; may come late, twice or never; after a crash it is tried again
  (and (ordered s) (= t (mk (now s) (live s) (ends s) (issued s) (expires s) (revoked s) (ordered s) true (acknowledged s) false))))
(define-fun acknowledge ((s S) (i I) (t S)) Bool
  (and (>= (revoked s) 0) (or (= mutant 2) (not (ordered s)) (told s))
       (= t (mk (now s) (live s) (ends s) (issued s) (expires s) (revoked s) (ordered s) (told s) true false))))
(define-fun fetch ((s S) (i I) (t S)) Bool
  (and (issued s) (or (= mutant 3) (< (now s) (expires s))) (not (told s))
       (= t (mk (now s) (live s) (ends s) (issued s) (expires s) (revoked s) (ordered s) (told s) (acknowledged s) true))))
(define-fun trans ((s S) (i I) (t S)) Bool
  (or (and (= (act i) 0) (tick s i t)) (and (= (act i) 1) (issue s i t)) (and (= (act i) 2) (revoke s i t))
      (and (= (act i) 3) (deliver s i t)) (and (= (act i) 4) (acknowledge s i t)) (and (= (act i) 5) (fetch s i t))))

(define-fun inv ((s S)) Bool
  (and (>= (now s) 0) (=> (issued s) (and (<= (expires s) (ends s)) (<= (expires s) (+ (now s) LIFE))
                           (=> (>= (revoked s) 0) (<= (expires s) (+ (revoked s) LIFE)))))
       (=> (>= (revoked s) 0) (and (not (live s)) (<= (revoked s) (now s)) (= (ordered s) (issued s))))
       (=> (live s) (= (revoked s) (- 1))) (=> (< (revoked s) 0) (and (live s) (not (ordered s)) (not (acknowledged s))))
       (=> (acknowledged s) (or (not (issued s)) (told s)))
       (=> (fetched s) (and (issued s) (not (told s)) (< (now s) (expires s))))))

;! property a ticket is never served beyond its grant's own end
;! caught-by 1 3
(define-fun prop1 ((s S)) Bool (=> (fetched s) (< (now s) (ends s))))
;! property once a revocation is acknowledged as complete, its tickets are served no more
;! caught-by 2 4
(define-fun prop2 ((s S)) Bool (=> (fetched s) (not (acknowledged s))))
;! property whatever is lost on the way, none is served a minute after the revocation
;! caught-by 1 3
(define-fun prop3 ((s S)) Bool (=> (and (fetched s) (>= (revoked s) 0)) (< (now s) (+ (revoked s) LIFE))))
;! reachable a ticket is served between the revocation and the cloud's learning of it
(define-fun reach1 ((s S)) Bool (and (fetched s) (>= (revoked s) 0)))
